"""What a request must look like on the wire, so that nobody before or behind the gateway reads another one out of it.

llhttp, which parses, refuses most of what two readers could understand differently: bare line feeds, folded lines,
blanks before a colon, NUL, more than one Content-Length or one beside Transfer-Encoding. The rest stands here. RFC 9112
leaves a choice between mending and refusing in some cases; it is always refused.
"""

import re

from heliograph_api.errors import APIError

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 100
MAX_FRAMING_BYTES = 16 * 1024
"""Most bytes of chunk extensions and trailers, beside the size and the line ends of each chunk."""
MAX_CHUNK_BYTES = 1 << 32
"""Largest size that one chunk may say it has; no body is so large."""
CHUNK_BYTES = 24
"""Bytes that a chunk's size, of up to 16 digits, and its line ends take with what is usual around them."""

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_LONGEST_METHOD = 32
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/1\.([01])\r\n")
_AUTHORITY = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+;=-]*)(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)
_BLANKS = b" \t"


class Head:
    """The head of one request as it comes, line by line.

    Attributes:
        chunked: Whether the body comes in chunks.
        length: Size of the body in bytes where it is told, else 0.
    """

    def __init__(self, line: bytes) -> None:
        """Begin with the request line, its line end included.

        Raises:
            APIError: 400, it is no proper one, or too long; 405, its method is served nowhere.
        """
        match = _REQUEST_LINE.fullmatch(line)
        if not match:
            raise malformed("its first line is not METHOD /PATH HTTP/1.1")
        method, self._target, minor = match.groups()
        if method.decode() not in _METHODS:
            raise _unknown(method.decode())
        is_usual = self._target.startswith(b"/") or _ABSOLUTE.match(self._target)
        if not is_usual and (method, self._target) != (b"OPTIONS", b"*"):
            raise malformed("its target is neither a path nor a URL")
        if b"#" in self._target:
            raise malformed("its target holds a fragment")
        self.chunked = False
        self.length = 0
        self._is_1_0 = minor == b"0"
        self._hosts: list[bytes] = []
        self._headers = 0
        self._bytes = 0
        self.take(len(line))

    def take(self, count: int) -> None:
        """Count bytes of the head; raise `APIError` (400) once there are too many."""
        self._bytes += count
        if self._bytes > MAX_HEAD_BYTES:
            raise malformed(f"its head is longer than {MAX_HEAD_BYTES} bytes")

    def header(self, name: bytes, value: bytes) -> None:
        """Check one header; raise `APIError` (400) if it is not to be served."""
        self._headers += 1
        if self._headers > MAX_HEADERS:
            raise malformed(f"it has more than {MAX_HEADERS} headers")
        name = name.lower()
        if name == b"host":
            self._hosts.append(value.strip(_BLANKS))
        elif name == b"content-length":
            self.length = int(value)
        elif name == b"transfer-encoding":
            if self.chunked or self._is_1_0 or value.strip(_BLANKS).lower() != b"chunked":
                raise malformed("its Transfer-Encoding is not chunked, once, in HTTP/1.1")
            self.chunked = True

    def end(self) -> None:
        """Check the head as a whole; raise `APIError` (400) if it is not to be served."""
        if len(self._hosts) > 1 or (not self._hosts and not self._is_1_0):
            raise malformed("it has no Host header, or several")
        host = self._hosts[0] if self._hosts else b""
        if not _AUTHORITY.fullmatch(host):
            raise malformed("its Host header is no host")
        absolute = _ABSOLUTE.match(self._target)
        if absolute and absolute[1].lower() != host.lower():
            raise malformed("its target names another host than its Host header")


def malformed(problem: str) -> APIError:
    """Return the error for a request that is no proper HTTP."""
    return APIError(400, f"The request is no valid HTTP/1.1: {problem}.", code="invalid_http")


def _unknown(method: str) -> APIError:
    served = ", ".join(_METHODS)
    return APIError(
        405,
        f"The method {method[:_LONGEST_METHOD]} is not served; use one of {served}, in capitals.",
        code="method_not_allowed",
        headers={"Allow": served},
    )
