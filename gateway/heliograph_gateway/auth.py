"""The gateway's own key."""

import hmac

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from heliograph_api.errors import APIError
from heliograph_gateway.errors import error_response
from heliograph_gateway.health import PROBE_PATHS

OPEN_PATHS = PROBE_PATHS
"""The only paths that answer without the key: the kubelet carries none. /metrics is not one: it names the models."""


class RequireKey:
    """Middleware that answers 401 to whatever lacks the key, on every path save `OPEN_PATHS`, known or not."""

    def __init__(self, app: ASGIApp, *, key: SecretStr) -> None:
        """Wrap `app`."""
        self._app = app
        self._key = key.get_secret_value().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._carries_key(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        error = APIError(
            401,
            "A valid API key is required: send it as 'Authorization: Bearer KEY' or as 'api-key: KEY'.",
            code="invalid_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )
        await error_response(error)(scope, receive, send)

    def _carries_key(self, headers: Headers) -> bool:
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        bearer = credentials.strip() if scheme.lower() == "bearer" else ""
        offered = (bearer, headers.get("api-key", ""))
        return any(hmac.compare_digest(key.encode("latin-1"), self._key) for key in offered)
