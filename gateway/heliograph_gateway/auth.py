"""Who may ask: API keys, their scopes and their rates."""

import base64
import binascii
from collections.abc import Iterator
from datetime import UTC, datetime

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from heliograph_api.errors import APIError
from heliograph_gateway.errors import error_response
from heliograph_gateway.keys.caller import caller_of, require_scope
from heliograph_gateway.keys.document import Key
from heliograph_gateway.keys.keyring import Keyring
from heliograph_gateway.keys.rates import Rates
from heliograph_gateway.keys.scopes import is_open, scopes_for

SDAPI_PREFIX = "/sdapi/v1"
"""Here the key may be the password of HTTP Basic too, under any user name: AUTOMATIC1111's tools send nothing else. Not
elsewhere, since browsers send Basic by themselves to a page that another one opens."""

_KEY_HEADERS = ("api-key", "x-api-key", "xi-api-key")
"""Headers that hold nothing but a key: that of Azure's clients, and those that LocalAI and GPUStack document."""


def owner_of(scope: Scope) -> str:
    """Return whose files, jobs and choices a request may see: its key's name, or nothing where no key is asked for."""
    return caller_of(scope).name


class RequireKey:
    """Middleware that answers 401 to whatever lacks a key, on every path save the open ones, known or not.

    A key without the scope that a path takes gets 403, and one that asks too often 429.
    """

    def __init__(self, app: ASGIApp, *, keyring: Keyring) -> None:
        """Wrap `app`."""
        self._app = app
        self._keyring = keyring
        self._rates = Rates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        shown: dict[str, str] = {}

        async def send_with_rate(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(raw=message["headers"]).update(shown)
            await send(message)

        try:
            key = self._admit(scope)
            scope.setdefault("state", {})["caller"] = key.caller
            shown |= self._limited(key, scope["method"])
            require_scope(key.caller, *scopes_for(scope["method"], scope["path"]))
        except APIError as error:
            await error_response(error)(scope, receive, send_with_rate)
            return
        await self._app(scope, receive, send_with_rate if shown else send)

    def _admit(self, scope: Scope) -> Key:
        """Return the key that a request carries; raise `APIError` (401) unless it is one that may be used."""
        key = self._keyring.find(_offered(Headers(scope=scope), path=scope["path"]))
        if key is None:
            raise _refusal("A valid API key is required: send it as 'Authorization: Bearer KEY' or as 'api-key: KEY'.")
        if key.disabled:
            raise _refusal(f"The API key '{key.name}' is disabled; use another one.")
        if key.expired(datetime.now(UTC)):
            raise _refusal(f"The API key '{key.name}' has expired; use another one.")
        return key

    def _limited(self, key: Key, method: str) -> dict[str, str]:
        """Return the headers that tell of a key's rate; raise `APIError` (429) if it asks too often."""
        if key.requests_per_minute is None:
            return {}
        verdict = self._rates.take(key.name, per_minute=key.requests_per_minute, method=method)
        if verdict.retry_after:
            raise APIError(
                429,
                f"The key '{key.name}' may make {verdict.limit} such requests a minute; try again in "
                f"{verdict.retry_after} s.",
                code="rate_limit_exceeded",
                headers={"Retry-After": str(verdict.retry_after), **verdict.headers()},
            )
        return verdict.headers()


def _refusal(message: str) -> APIError:
    return APIError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


def _offered(headers: Headers, *, path: str) -> Iterator[bytes]:
    """Yield what a request carries where a key may be."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield credentials.strip().encode("latin-1")
    elif scheme.lower() == "basic" and path.startswith(SDAPI_PREFIX):
        yield _password(credentials)
    for name in _KEY_HEADERS:
        if key := headers.get(name):
            yield key.strip().encode("latin-1")


def _password(credentials: str) -> bytes:
    """Return the password of HTTP Basic's credentials; nothing where they are none."""
    try:
        return base64.b64decode(credentials.strip(), validate=True).partition(b":")[2]
    except (ValueError, binascii.Error):
        return b""
