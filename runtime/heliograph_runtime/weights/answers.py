"""What a fetch answers over HTTP while it is at work: how far it is."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge
from prometheus_client.exposition import generate_latest

from heliograph_runtime.weights.progress import Progress


class ListenError(Exception):
    """The address can't be listened on."""


@contextmanager
def answering_progress(progress: Progress, *, host: str, port: int) -> Iterator[int]:
    """Answer /progress, /healthz and /metrics inside the `with` block, and give the port.

    Raises:
        ListenError: The address can't be listened on.
    """
    try:
        server = _Server(host, port, partial(_Handler, progress, metrics_of(progress)))
    except OSError as error:
        raise ListenError(f"port: can't listen on {host} port {port}: {error.strerror}; choose another") from None
    thread = Thread(target=server.serve_forever, args=(0.1,), name="progress", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int, handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), handler)


class _Handler(BaseHTTPRequestHandler):
    timeout = 10  # a client that says nothing must not keep a thread

    def __init__(self, progress: Progress, metrics: CollectorRegistry, *arguments: object) -> None:
        self._progress = progress
        self._metrics = metrics
        super().__init__(*arguments)  # type: ignore[arg-type]  # what the server gives every handler

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/progress":
                self._answer(json.dumps(self._progress.state().as_dict()).encode(), "application/json")
            case "/healthz":
                self._answer(b'{"status": "ok"}', "application/json")
            case "/metrics":
                self._answer(generate_latest(self._metrics), CONTENT_TYPE_LATEST)
            case _:
                self.send_error(HTTPStatus.NOT_FOUND)

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: a poll every few seconds is no news."""


def metrics_of(progress: Progress) -> CollectorRegistry:
    """Return metrics that tell how far a fetch is."""
    registry = CollectorRegistry()
    gauge = partial(Gauge, namespace="heliograph_fetch", registry=registry)
    gauge("done_bytes", "Bytes of the weights that are there.").set_function(lambda: progress.state().done)
    gauge("total_bytes", "Bytes of all weights; 0 while that is not known.").set_function(
        lambda: progress.state().total or 0
    )
    gauge("speed_bytes_per_second", "Bytes that arrive in a second.").set_function(lambda: progress.state().speed)
    return registry
