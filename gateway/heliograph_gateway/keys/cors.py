"""What web pages of other origins may do: ask, where the setting `cors_origins` names them."""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware

_METHODS = ("GET", "HEAD", "POST", "DELETE")
_READABLE = (
    "content-disposition", "openai-poll-after-ms", "retry-after", "retry-after-ms", "x-heliograph-model",
    "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", "x-request-id",
    "x-should-retry",
)  # fmt: skip
_PREFLIGHT_SECONDS = 600


def allow_origins(app: Starlette, origins: Sequence[str]) -> None:
    """Let pages of these origins ask an app and read its answers; with `*` any page, with none only its own.

    Keys are sent by the pages' own code, in a header; cookies and the like have no meaning here, and are not allowed.
    """
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=_METHODS,
            allow_headers=["*"],
            expose_headers=_READABLE,
            allow_credentials=False,
            max_age=_PREFLIGHT_SECONDS,
        )
