"""What the operator takes from pods that say that they fetch, whosever pods these are."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import aiohttp
import pytest

from cluster.http_server import running
from heliograph_api import naming
from heliograph_api.exits import FetchResult
from heliograph_operator.fetching import FetchProgress, ProgressClient, fetched_by
from heliograph_operator.plan.fetched import Fetched

ADDRESS = "127.77.0.6"
GOOD = b'{"done": 1, "total": 4, "speed": 0.5}'


@contextmanager
def pod(body: bytes, *, status: int = 200, **headers: str) -> Iterator[list[str]]:
    """Answer as a pod; give the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status if self.path == "/progress" else 200)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with running(ThreadingHTTPServer((ADDRESS, naming.FETCHER_PORT), Handler)):
        yield asked


def ask() -> FetchProgress | None:
    async def asked() -> FetchProgress | None:
        async with aiohttp.ClientSession() as session:
            return await ProgressClient(session).ask({"status": {"podIP": ADDRESS}})

    return asyncio.run(asked())


def test_how_far_it_is() -> None:
    with pod(GOOD):
        assert ask() == FetchProgress(1, 4, 0.5)
    with pod(b'{"done": 0, "total": null, "speed": 0}'):
        assert ask() == FetchProgress(0, None, 0.0)
    assert ask() is None, "nobody listens"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"done": 1, "total": "4", "speed": 0.5}',
        b'{"done": Infinity, "total": 4, "speed": 0.5}',
        b'{"done": 1, "total": 4, "speed": NaN}',
        b'{"done": -1, "total": 4, "speed": 0.5}',
        GOOD + b" " * 100_000,
    ],
)
def test_an_answer_that_is_none(body: bytes) -> None:
    with pod(body):
        assert ask() is None


def test_the_operator_is_sent_nowhere_else() -> None:
    with pod(GOOD, status=302, location="/elsewhere") as asked:
        ask()
        assert asked == ["/progress"]


def test_what_was_fetched_is_told_by_the_pods_of_that_job_alone() -> None:
    """Pods of an earlier Job may still be there, with other weights."""

    def ended(job: str, size: int) -> dict[str, Any]:
        told = {"message": FetchResult("Fetched", bytes=size).line()}
        reference = {"apiVersion": "batch/v1", "kind": "Job", "name": "x", "uid": job, "controller": True}
        return {
            "metadata": {"ownerReferences": [reference]},
            "status": {"containerStatuses": [{"name": "fetch", "state": {"terminated": told}}]},
        }

    job = {"metadata": {"name": "dream-01234567", "uid": "new"}}
    assert fetched_by(job, [ended("old", 1), {"metadata": {}}, ended("new", 2)]) == Fetched("dream-01234567", 2)
    assert fetched_by(job, [ended("old", 1)]) == Fetched("dream-01234567")
