"""The client of the benchmark, which must not take a connection that was cut or stalls for one that is served well."""

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from gateway.peers import Behaviour, Peer

ROOT = Path(__file__).resolve().parents[2]
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


def asked(behaviour: Behaviour) -> dict[str, Any]:
    """Return what the client finds of a peer on two connections."""
    with Peer(behaviour) as peer:
        command = [sys.executable, "-m", "bench.gateway.client", "throughput", str(peer.endpoint.port), "1.5", "2"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def serve(connection: socket.socket, count: int) -> None:
    """Answer so many requests, the first of which was read."""
    for number in range(count):
        if number and not connection.recv(65_536):
            return
        connection.sendall(ANSWER)


def test_answers_are_counted() -> None:
    found = asked(lambda connection: serve(connection, 10**9))
    assert (found["failed"], found["open"]) == (0, 2)
    assert found["answered"] > 2
    assert found["p50"] <= found["p99"]


def test_a_connection_that_is_cut_is_a_failure() -> None:
    found = asked(lambda connection: serve(connection, 3))
    assert (found["answered"], found["failed"], found["open"]) == (6, 2, 0)


@pytest.mark.parametrize("answers", [3, 40])
def test_a_request_that_is_not_answered_in_time_counts_with_its_wait(answers: int) -> None:
    stop = threading.Event()

    def behave(connection: socket.socket) -> None:
        serve(connection, answers)
        stop.wait(30)

    try:
        found = asked(behave)
    finally:
        stop.set()
    assert (found["answered"], found["failed"], found["open"]) == (2 * answers, 0, 2)
    # Of so few requests those two are more than a hundredth; none took longer than the whole.
    assert 500 < found["p99"] < 1000 * found["took"]
