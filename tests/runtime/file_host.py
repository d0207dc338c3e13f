"""A host of files on the loopback, which can be told to be unreliable."""

import hashlib
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event
from urllib.parse import unquote

from cluster.http_server import running


@dataclass
class FileHost:
    """What the host has and how it behaves.

    Attributes:
        files: Content by path, whatever the query is.
        queries: Content by path and query.
        ranges: Whether it gives parts of files.
        tags: Whether it sends entity tags.
        cut_after: Bytes after which it closes each connection; None for never.
        hold_after: Bytes after which it waits for `released` before it goes on; None for never.
        failures: Statuses that the next requests get, one each.
        token: Token that every request must carry.
        redirects: Where requests for a path are sent on to.
        error_code: What the header X-Error-Code says of a path that is missing.
        seen: Path, range and authorization of each request.
        cookies: Cookies of each request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    queries: dict[tuple[str, str], bytes] = field(default_factory=dict)
    ranges: bool = True
    tags: bool = True
    cut_after: int | None = None
    hold_after: int | None = None
    released: Event = field(default_factory=Event)
    failures: list[int] = field(default_factory=list)
    token: str | None = None
    redirects: dict[str, str] = field(default_factory=dict)
    error_code: Callable[[str], str] = lambda _: ""
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    cookies: list[str] = field(default_factory=list)
    port: int = 0
    scheme: str = "http"

    def url(self, path: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    def reads(self, path: str) -> list[int]:
        """Return the places from which on a file was asked for; the first question, for one byte, left out."""
        wanted = [wanted for seen, wanted, _ in self.seen if seen == path and wanted != "bytes=0-0"]
        return [int(match[1]) if (match := re.fullmatch(r"bytes=(\d+)-", text)) else 0 for text in wanted]


class _Server(ThreadingHTTPServer):
    def __init__(self, host: FileHost, address: str) -> None:
        super().__init__((address, 0), _Handler)
        self.host = host

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that leave."""


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        content = self.server.host.queries.get((path, unquote(query)), self.server.host.files.get(path))
        wanted, authorization = self.headers.get("range", ""), self.headers.get("authorization", "")
        self.server.host.seen.append((path, wanted, authorization))
        self.server.host.cookies.append(self.headers.get("cookie", ""))
        if self.server.host.failures:
            self._refuse(self.server.host.failures.pop(0))
        elif self.server.host.token and authorization != f"Bearer {self.server.host.token}":
            self._refuse(401)
        elif path in self.server.host.redirects:
            self.send_response(302)
            self.send_header("location", self.server.host.redirects[path])
            self.send_header("content-length", "0")
            self.end_headers()
        elif content is None:
            self._refuse(404)
        else:
            self._give(content, wanted)

    def _give(self, content: bytes, wanted: str) -> None:
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        start, end = 0, len(content)
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
        unchanged = self.headers.get("if-range", tag) == tag
        if match and self.server.host.ranges and unchanged:
            start = int(match[1])
            end = min(int(match[2]) + 1, end) if match[2] else end
            if start >= len(content):
                self._refuse(416)
                return
            self.send_response(206)
            self.send_header("content-range", f"bytes {start}-{end - 1}/{len(content)}")
        else:
            self.send_response(200)
        if self.server.host.tags:
            self.send_header("etag", tag)
        self.send_header("content-length", str(end - start))
        self.end_headers()
        body = content[start:end]
        if self.server.host.cut_after is not None and len(body) > self.server.host.cut_after:
            self.wfile.write(body[: self.server.host.cut_after])
            self.close_connection = True
            return
        held = len(body) if self.server.host.hold_after is None else self.server.host.hold_after
        self.wfile.write(body[:held])
        if held < len(body):
            self.server.host.released.wait(60)
            self.wfile.write(body[held:])

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        if status == 404 and (code := self.server.host.error_code(self.path)):
            self.send_header("x-error-code", code)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def file_host(address: str = "127.0.0.1", *, certificate: tuple[Path, Path] | None = None) -> Iterator[FileHost]:
    """Run a host of files that listens on an address, the loopback's unless given; by HTTPS with a certificate."""
    host = FileHost()

    server = _Server(host, address)
    if certificate:
        host.scheme = "https"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    host.port = server.server_address[1]
    with running(server):
        try:
            yield host
        finally:
            host.released.set()
