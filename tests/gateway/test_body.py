"""Request bodies: in memory, in files, too many, too large; and what they leave behind."""

import asyncio
import base64
import contextlib
import json
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from cluster.waiting import eventually
from gateway.peers import Behaviour, Peer, answer
from gateway.picture_hosts import PictureHost
from gateway.running import StartGateway
from heliograph_api.errors import APIError
from heliograph_gateway.body import IN_MEMORY, Bodies, Body
from heliograph_gateway.record import Record, record_of
from heliograph_gateway.routing import Endpoint
from heliograph_gateway.settings import GatewaySettings
from hostile.lone_gateway import lone_gateway

IMAGES = {"created": 1, "data": [{"b64_json": "AAAA"}]}
PNG = b"\x89PNG\r\n\x1a\n"
_MIB = 1024 * 1024


def with_parts(parts: list[bytes], use: Callable[[Bodies, Request], Awaitable[Any]], **settings: Any) -> Any:
    """Return what `use` makes of a request whose body comes in such parts; its record is closed afterwards."""
    waiting = list(parts)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def run() -> Any:
        record = Record("a")
        scope = {
            "type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")],
            "state": {"record": record},
        }  # fmt: skip
        bodies = Bodies(GatewaySettings(**settings))
        try:
            return await use(bodies, Request(scope, receive))
        finally:
            record.cleanup.close()
            assert (bodies.buffered, bodies.spooled) == (0, 0)

    return asyncio.run(run())


async def joined(body: Body) -> bytes:
    return b"".join([part async for part in body.parts()])


@pytest.mark.parametrize("size", [0, 1, IN_MEMORY, IN_MEMORY + 1, 5 * _MIB + 3])
def test_a_body_is_what_was_sent(size: int) -> None:
    content = os.urandom(size)
    parts = [content[start : start + 100_000] for start in range(0, size, 100_000)] or [b""]

    async def use(bodies: Bodies, request: Request) -> None:
        body = await bodies.read(request)
        assert len(body) == size
        assert await joined(body) == content
        # As when another replica is asked because the first one is gone.
        assert await joined(body) == content
        assert await bodies.understood(body, lambda found: bytes(found[:])) == content
        assert (bodies.buffered, bodies.spooled) == ((0, size) if size > IN_MEMORY else (size, 0))

    with_parts(parts, use)


def test_bodies_go_to_files_sooner_when_many_are_in_memory() -> None:
    async def use(bodies: Bodies, request: Request) -> None:
        body = await bodies.read(request)
        assert (bodies.buffered, bodies.spooled) == (0, 300_000)
        assert await joined(body) == b"x" * 300_000

    with_parts([b"x" * 100_000] * 3, use, max_buffered_bytes=50_000)


def test_files_have_a_largest_sum() -> None:
    async def use(bodies: Bodies, request: Request) -> None:
        with pytest.raises(APIError) as caught:
            await bodies.read(request)
        assert (caught.value.status, caught.value.code) == (503, "overloaded")
        assert int(caught.value.headers["Retry-After"]) <= 120

    with_parts([b"x" * _MIB] * 6, use, max_spooled_bytes=4 * _MIB)


def test_a_disk_without_room_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc/nowhere")

    async def use(bodies: Bodies, request: Request) -> None:
        with pytest.raises(APIError, match="cannot keep so large a request") as caught:
            await bodies.read(request)
        assert caught.value.status == 503
        assert "/proc" not in caught.value.message

    with_parts([b"x" * _MIB] * 2, use)


def test_a_body_that_is_too_large_takes_no_room() -> None:
    async def use(bodies: Bodies, request: Request) -> None:
        with pytest.raises(APIError) as caught:
            await bodies.read(request)
        assert caught.value.status == 413
        assert (bodies.buffered, bodies.spooled) == (0, 0)

    with_parts([b"x" * _MIB] * 6, use, max_body_bytes=5 * _MIB)


def test_a_request_that_is_cancelled_while_it_is_written_away_leaves_nothing() -> None:
    async def use(bodies: Bodies, request: Request) -> None:
        for pause in (0.0, 0.001, 0.003, 0.01):
            record_of(request.scope).cleanup.close()
            body = Body(bodies)
            record_of(request.scope).cleanup.callback(body.close)
            writing = asyncio.create_task(body.append(b"x" * 40 * _MIB))
            await asyncio.sleep(pause)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    with_parts([b""], use)


def form(size: int) -> tuple[bytes, str]:
    """Return an edit with a picture of so many bytes, and its content type."""
    fields = b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\ntiny\r\n'
    fields += b'--B\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na circle\r\n'
    head = b'--B\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    picture = PNG + (b"\r\n--A" + bytes(997)) * (size // 1002)
    return fields + head + picture + b"\r\n--B--\r\n", "multipart/form-data; boundary=B"


def test_a_large_form_arrives_unchanged(start_gateway: StartGateway) -> None:
    content, content_type = form(20 * _MIB)
    with Peer(answer(200, IMAGES)) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint])
        response = gateway.client.post("/v1/images/edits", content=content, headers={"content-type": content_type})
        assert response.status_code == 200, response.text
        assert peer.requests[0].body == content
        assert peer.requests[0].headers["content-length"] == str(len(content))
        assert peer.requests[0].headers["content-type"] == content_type


def test_a_large_json_body_arrives_unchanged(start_gateway: StartGateway) -> None:
    picture = base64.b64encode(PNG + os.urandom(8 * _MIB))
    content = b'{"model":"tiny", "prompt": "a circle", "image":\n"' + picture + b'"}'
    with Peer(answer(200, IMAGES)) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint])
        headers = {"content-type": "application/json"}
        response = gateway.client.post("/v1/images/edits", content=content, headers=headers)
        assert response.status_code == 200, response.text
        assert peer.requests[0].body == content


def test_what_is_wrong_in_a_large_body_is_said(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    content = b'{"model":"tiny", "prompt": "a circle", "image": "' + b"A" * 3 * _MIB
    headers = {"content-type": "application/json"}
    response = gateway.client.post("/v1/images/edits", content=content, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_json")


class Drain:
    """A replica that answers once it has read a request, of which it keeps nothing."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.read = 0
        self._behaviour = behaviour
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.endpoint = Endpoint(*self._socket.getsockname())
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=self._socket.accept()[:1], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            length = 0
            while (line := stream.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line[15:])
            while length and (part := stream.read(min(length, 1 << 20))):
                length -= len(part)
            self.read += 1
            self._behaviour(connection)


def test_many_large_edits_fit_into_little_memory(tmp_path: Path) -> None:
    """32 edits of 60 MB at once are 1.9 GB; the process has a fraction of that in memory at any time."""
    content, content_type = form(60_000_000)
    with (
        contextlib.closing(Drain(answer(200, IMAGES))) as replica,
        lone_gateway(tmp_path, [replica.endpoint], max_at_replica=64) as gateway,
    ):
        process = gateway.leash.pid
        before = peak_memory(process)

        def edit(_: int) -> int:
            headers = {"content-type": content_type}
            url = f"{gateway.url}/v1/images/edits"
            return httpx.post(url, content=content, headers=headers, timeout=240, trust_env=False).status_code

        with ThreadPoolExecutor(32) as pool:
            assert list(pool.map(edit, range(32))) == [200] * 32
        assert peak_memory(process) - before < 450 * _MIB


@pytest.mark.parametrize("what", ["AUTOMATIC1111", "URLs"])
def test_bodies_that_are_made_anew_are_on_the_account(
    tmp_path: Path, host: Callable[..., PictureHost], what: str
) -> None:
    """16 requests that wait at a replica: what it gets is made by the gateway, 59 MB or 48 MB each time."""
    released = threading.Event()

    def wait(connection: socket.socket) -> None:
        released.wait(240)
        answer(200, {**IMAGES, "size": "8x8", "data": [{"b64_json": "AAAA", "seed": 1}]})(connection)

    served = host(answer(200, PNG + os.urandom(18_000_000)))
    path, body = "/v1/images/edits", json.dumps({"prompt": "a", "image": [served.url(), served.url() + "b"]}).encode()
    if what == "AUTOMATIC1111":
        path = "/sdapi/v1/img2img"
        body = json.dumps({"prompt": "a", "init_images": [base64.b64encode(PNG + bytes(44_000_000)).decode()]}).encode()
    with (
        contextlib.closing(Drain(wait)) as replica,
        lone_gateway(
            tmp_path, [replica.endpoint], max_at_replica=64, image_url_private_hosts=f"127.0.0.1:{served.port}"
        ) as gateway,
        ThreadPoolExecutor(16) as pool,
    ):
        before = peak_memory(gateway.leash.pid)

        def ask(_: int) -> int:
            headers = {"content-type": "application/json"}
            return httpx.post(
                f"{gateway.url}{path}", content=body, headers=headers, timeout=240, trust_env=False
            ).status_code

        asked = [pool.submit(ask, number) for number in range(16)]
        eventually(lambda: replica.read == 16, what="all of the requests", timeout=200)
        released.set()
        assert [one.result() for one in asked] == [200] * 16
        # The content of one is in memory several times while it is made, and so is what the kernel has mapped of files.
        assert peak_memory(gateway.leash.pid) - before < 850 * _MIB


def peak_memory(pid: int) -> int:
    """Return the most bytes that a process has had in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
