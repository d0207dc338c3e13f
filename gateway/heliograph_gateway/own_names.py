"""Whom a gateway without keys answers: not the pages of other sites, which a browser on the same network may show.

Such a page can lead a name of its own to the gateway's address (DNS rebinding), and then read what it answers; and it
can send a form there, without reading the answer. Where keys are asked for, it lacks one.
"""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from heliograph_api.errors import APIError
from heliograph_gateway.errors import error_response
from heliograph_gateway.health import PROBE_PATHS
from heliograph_gateway.settings import GatewaySettings

_LOCAL = (".localhost", ".internal", ".home.arpa", ".svc", ".svc.cluster.local")
"""What names end in that the public DNS does not have: host.docker.internal is a container's for its machine."""
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITES = (b"same-origin", b"none")
_LONGEST = 128
_NAMES = frozenset({b"host", b"origin", b"sec-fetch-site", b"x-forwarded-host"})


class OwnNames:
    """Middleware that answers 403 to requests under names of others, and to changes that pages of others ask for."""

    def __init__(self, app: ASGIApp, *, settings: GatewaySettings) -> None:
        """Wrap `app`; the settings say which names and pages there are."""
        self._app = app
        self._hosts = settings.allowed_hosts
        self._external = urlsplit(settings.external_url or "")
        self._origins = frozenset(settings.cors_origins)
        self._any_origin = "*" in self._origins
        self._is_own = lru_cache(maxsize=1024)(self._looked_at)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http" and scope["path"] not in PROBE_PATHS:
            try:
                self._check(scope["method"], dict(_told(scope["headers"])))
            except APIError as error:
                await error_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, method: str, told: dict[bytes, bytes]) -> None:
        host = told.get(b"host", b"").decode("latin-1").lower()
        if host and not self._is_own(host):
            raise APIError(
                403,
                "This gateway asks for no key, so nobody may ask it under a name that others may have led to it, as "
                f"{host[:_LONGEST]} is. If it is yours, add it to allowed_hosts (HELIOGRAPH_GATEWAY_ALLOWED_HOSTS), or "
                "set a key; or ask by the gateway's address.",
                code="host_not_allowed",
            )
        if method in _SAFE_METHODS or self._any_origin:
            return
        site, origin = told.get(b"sec-fetch-site"), told.get(b"origin", b"").decode("latin-1").lower()
        if site in _OWN_SITES or origin in self._origins:
            return
        own = {host, self._external.netloc, told.get(b"x-forwarded-host", b"").decode("latin-1").lower()}
        if site == b"cross-site" or (origin and urlsplit(origin).netloc not in own - {""}):
            raise APIError(
                403,
                f"This gateway asks for no key, so a page of {origin[:_LONGEST] or 'another site'} may change nothing "
                "here. If it is yours, add its origin to cors_origins (HELIOGRAPH_GATEWAY_CORS_ORIGINS), or set a key.",
                code="origin_not_allowed",
            )

    def _looked_at(self, host: str) -> bool:
        """Return whether a Host header names this gateway, by an address or by a name that nobody else can have."""
        name = (host if host.endswith("]") else host.rpartition(":")[0] or host).rstrip(".")
        # Names without a dot are those of a machine, a container or a Service: none of them is in the public DNS.
        if "." not in name or name.endswith(_LOCAL) or name == self._external.hostname:
            return True
        return _is_address(name) or any(_matches(pattern, name) for pattern in self._hosts)


def _told(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[bytes, bytes]]:
    return ((name, value) for name, value in headers if name in _NAMES)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _matches(pattern: str, name: str) -> bool:
    return pattern in ("*", name) or (pattern.startswith("*.") and name.endswith(pattern[1:]))
