"""Under which URL a client reaches the gateway, told from its request."""

import re

from starlette.requests import Request

_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+){1,8}/?")
_SCHEMES = {"http", "https"}


def base_url(request: Request, *, external_url: str | None, trust_forwarded_headers: bool) -> str:
    """Return the URL before `/v1`, without a slash at its end.

    What is no plain host, scheme or path in a header is passed over, so that a header can inject nothing.

    Args:
        request: The client's request.
        external_url: The answer, where it is configured.
        trust_forwarded_headers: Whether X-Forwarded-Proto, -Host and -Prefix are read.
    """
    if external_url:
        return external_url
    forwarded = request.headers if trust_forwarded_headers else {}
    # Each proxy adds its own view at the end; the first is the one that the client talks to.
    scheme, host, prefix = (
        forwarded.get(f"x-forwarded-{name}", "").partition(",")[0].strip() for name in ("proto", "host", "prefix")
    )
    if scheme not in _SCHEMES:
        scheme = str(request.scope["scheme"])
    if not _HOST.fullmatch(host):
        host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        host = _own_address(request)
    return f"{scheme}://{host}{prefix.rstrip('/') if _PREFIX.fullmatch(prefix) else ''}"


def _own_address(request: Request) -> str:
    host, port = request.scope.get("server") or ("127.0.0.1", None)
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"
