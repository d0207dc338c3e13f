"""Clients that break their connections: the work for them ends, and nothing of them is left."""

import contextlib
import json
import os
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cluster.addresses import free_port
from cluster.leash import Leash
from cluster.waiting import eventually
from gateway.peers import Peer
from heliograph_gateway.routing import Endpoint
from hostile.lone_gateway import LoneGateway, lone_gateway
from runtime.runtimes import LONG, TINY, Runtime, command, write_manifest

STREAMS = 200
_EVENT = b"event: image_generation.partial_image\ndata: {}\n\n"
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + _EVENT
_RESET = struct.pack("ii", 1, 0)


@dataclass
class Streaming:
    """A runtime whose answers go on until its client leaves, or all are told to end.

    Attributes:
        end: Ends every answer.
        left: How many clients have left.
        ended: How many answers have come to their end.
    """

    end: threading.Event = field(default_factory=threading.Event)
    left: int = 0
    ended: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, connection: socket.socket) -> None:
        connection.sendall(_HEAD)
        connection.settimeout(0.1)
        while not self.end.is_set():
            with contextlib.suppress(TimeoutError):
                try:
                    gone = connection.recv(1) == b""
                except ConnectionError:
                    gone = True
                if gone:
                    with self._lock:
                        self.left += 1
                    return
        connection.sendall(_EVENT)
        with self._lock:
            self.ended += 1


def open_stream(gateway: LoneGateway, **asked: object) -> socket.socket:
    """Return a connection on which events have begun to come."""
    body = json.dumps({"model": "tiny", "prompt": "a circle", "stream": True, **asked}).encode()
    head = f"POST /v1/images/generations HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {len(body)}\r\n"
    connection = gateway.connect(timeout=60.0)
    connection.sendall(head.encode() + b"content-type: application/json\r\n\r\n" + body)
    return connection


def read_until(connection: socket.socket, wanted: bytes) -> None:
    received = b""
    while wanted not in received:
        part = connection.recv(65_536)
        assert part, received[-500:]
        received += part


def reset(connection: socket.socket) -> None:
    """Break a connection as a client does that is killed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    connection.close()


def descriptors(gateway: LoneGateway) -> int:
    return len(os.listdir(f"/proc/{gateway.leash.pid}/fd"))  # noqa: PTH208 - a list of numbers, not of paths


@pytest.fixture
def streaming() -> Iterator[tuple[Peer, Streaming]]:
    behaviour = Streaming()
    with Peer(behaviour) as peer:
        yield peer, behaviour
        behaviour.end.set()


def test_half_of_the_streams_are_reset(streaming: tuple[Peer, Streaming], tmp_path: Path) -> None:
    peer, behaviour = streaming
    with lone_gateway(tmp_path, [peer.endpoint], max_at_replica=STREAMS) as gateway:
        first = open_stream(gateway)
        read_until(first, _EVENT)
        reset(first)
        eventually(lambda: behaviour.left == 1, what="end of the first")
        tasks, open_files = gateway.tasks(), descriptors(gateway)

        with ThreadPoolExecutor(32) as pool:
            connections = list(pool.map(lambda _: open_stream(gateway), range(STREAMS)))
            list(pool.map(lambda one: read_until(one, _EVENT), connections))
        assert gateway.tasks() > tasks + STREAMS
        for connection in connections[::2]:
            reset(connection)
        eventually(lambda: behaviour.left == 1 + STREAMS // 2, what="end of the work for those who left", timeout=10)
        assert behaviour.ended == 0

        behaviour.end.set()
        for connection in connections[1::2]:
            read_until(connection, b"0\r\n\r\n")
            assert connection.recv(1) == b""
            connection.close()
        assert behaviour.ended == STREAMS // 2
        eventually(lambda: gateway.tasks() <= tasks, what="end of every task")
        eventually(lambda: descriptors(gateway) <= open_files, what="end of every connection")
        assert "Traceback" not in gateway.leash.log.read_text()


def test_a_model_stops_drawing_for_those_who_left(tmp_path: Path) -> None:
    port = free_port()
    manifest = write_manifest(tmp_path, TINY)
    with Leash(command(manifest, port=port), log=tmp_path / "runtime.log") as leash:
        runtime = Runtime(leash, f"http://127.0.0.1:{port}")
        runtime.wait_ready()
        worker = runtime.worker
        with lone_gateway(tmp_path, [Endpoint("127.0.0.1", port)]) as gateway:
            asked = {**LONG, "size": "64x64", "partial_images": 3}
            connections = [open_stream(gateway, **asked) for _ in range(4)]
            runtime.wait_busy()
            eventually(lambda: runtime.metric("requests_at_work") == 4, what="four requests")
            for connection in connections:
                reset(connection)
            runtime.wait_busy(False)
            eventually(lambda: runtime.metric("requests_total", outcome="cancelled") == 4, what="four cancellations")
        # It stopped between two steps, and was not ended for it; the next picture is drawn at once.
        assert runtime.worker == worker
        assert len(runtime.draw(size="64x64", steps=1)) == 1
