"""The gateway's own key."""

import base64
import binascii
import hashlib
import hmac

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from heliograph_api.errors import APIError
from heliograph_gateway.errors import error_response
from heliograph_gateway.files.links import SIGNED_PATH
from heliograph_gateway.health import PROBE_PATHS

DOCS_PATH = "/docs"
OPENAPI_PATH = "/openapi.json"

OPEN_PATHS = PROBE_PATHS | {DOCS_PATH, OPENAPI_PATH}
"""Paths that answer without the key: the kubelet carries none, and a browser that opens the documentation neither.
/metrics is not one: it names the models.

Beside them there are only what the documentation is shown with, and the links to files, `SIGNED_PATH`, which are signed
instead.
"""
SDAPI_PREFIX = "/sdapi/v1"
"""Here the key may be the password of HTTP Basic too, under any user name: AUTOMATIC1111's tools send nothing else. Not
elsewhere, since browsers send Basic by themselves to a page that another one opens."""
_SHOWN_WITH = f"{DOCS_PATH}/static/"


def owner_of(scope: Scope) -> str:
    """Return who made a request: the SHA-256 of its key in hexadecimal, or nothing where no key is asked for."""
    owner: str = scope.get("state", {}).get("owner", "")
    return owner


class RequireKey:
    """Middleware that answers 401 to whatever lacks the key, on every path save the open ones, known or not."""

    def __init__(self, app: ASGIApp, *, key: SecretStr) -> None:
        """Wrap `app`."""
        self._app = app
        self._key = key.get_secret_value().encode()
        self._owner = hashlib.sha256(self._key).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or _is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        if self._carries_key(Headers(scope=scope), path=scope["path"]):
            scope.setdefault("state", {})["owner"] = self._owner
            await self._app(scope, receive, send)
            return
        error = APIError(
            401,
            "A valid API key is required: send it as 'Authorization: Bearer KEY' or as 'api-key: KEY'.",
            code="invalid_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )
        await error_response(error)(scope, receive, send)

    def _carries_key(self, headers: Headers, *, path: str) -> bool:
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        offered = [headers.get("api-key", "").encode("latin-1")]
        if scheme.lower() == "bearer":
            offered.append(credentials.strip().encode("latin-1"))
        elif scheme.lower() == "basic" and path.startswith(SDAPI_PREFIX):
            offered.append(_password(credentials))
        return any(hmac.compare_digest(key, self._key) for key in offered)


def _password(credentials: str) -> bytes:
    """Return the password of HTTP Basic's credentials; nothing where they are none."""
    try:
        return base64.b64decode(credentials.strip(), validate=True).partition(b":")[2]
    except (ValueError, binascii.Error):
        return b""


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(_SHOWN_WITH) or SIGNED_PATH.fullmatch(path) is not None
