"""Bytes that two readers of HTTP could read differently: the gateway reads them in one way, or not at all."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from cluster.waiting import eventually
from hostile.exchanges import check_text
from hostile.lone_gateway import LoneGateway, lone_gateway
from hostile.recording import Recorder
from hostile.smuggling_cases import BODY, SMUGGLED, WireCase, cases

PASSED_ON = {
    "accept", "accept-encoding", "connection", "content-length", "content-type", "host", "traceparent", "tracestate",
    "user-agent", "x-heliograph-target", "x-request-id",
}  # fmt: skip
"""Headers that a runtime may get."""
ENDS = {400, 414, 431, 501, 505}
"""Statuses behind which nothing is read."""
_QUIET_SECONDS = 0.1
_PATIENCE = 5.0
CASES = list(cases())


@dataclass
class Answers:
    """What came back on a connection.

    Attributes:
        statuses: The statuses of the answers, in their order.
        closed: Whether the gateway ended the connection.
        text: All that came.
    """

    statuses: list[int]
    closed: bool
    text: str


@pytest.fixture(scope="module")
def runtime() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder


@pytest.fixture(scope="module")
def gateway(runtime: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneGateway]:
    with lone_gateway(tmp_path_factory.mktemp("gateway"), [runtime.endpoint], allowed_hosts="gateway.test") as running:
        yield running


def talk(gateway: LoneGateway, case: WireCase) -> Answers:
    """Send a case, and return what comes back until the connection ends or nothing more comes."""
    received, closed = b"", False
    with gateway.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # It may be closed while there is still something to send.
        with contextlib.suppress(ConnectionError):
            for segment in case.segments:
                connection.sendall(segment)
        while not closed:
            statuses = statuses_in(received)
            is_over = len(statuses) >= len(case.answers) and not ENDS.intersection(statuses)
            connection.settimeout(_QUIET_SECONDS if is_over else _PATIENCE)
            try:
                part = connection.recv(65_536)
            except TimeoutError:
                break
            except ConnectionError:
                part = b""
            received, closed = received + part, not part
    return Answers(statuses_in(received), closed, received.decode("latin-1"))


def statuses_in(received: bytes) -> list[int]:
    """Return the statuses of the whole answers, interim ones aside."""
    statuses = []
    while b"\r\n\r\n" in received:
        head, _, rest = received.partition(b"\r\n\r\n")
        line, *lines = head.lower().split(b"\r\n")
        status = int(line.split()[1])
        headers = dict(text.split(b": ", 1) for text in lines)
        size = int(headers.get(b"content-length", b"0"))
        if len(rest) < size:
            break
        if status >= 200:
            statuses.append(status)
        received = rest[size:]
    return statuses


@pytest.mark.parametrize("case", CASES, ids=[f"{number} {case.name[:60]}" for number, case in enumerate(CASES)])
def test_a_request_is_read_in_one_way(gateway: LoneGateway, runtime: Recorder, case: WireCase) -> None:
    before = len(runtime.seen)
    answers = talk(gateway, case)

    assert len(answers.statuses) == len(case.answers), answers
    for status, expected in zip(answers.statuses, case.answers, strict=True):
        assert status in expected, answers
    assert answers.closed or not ENDS.intersection(answers.statuses[-1:]), answers
    check_text(answers.text, sent=case.segments)
    eventually(lambda: len(runtime.seen) >= before + answers.statuses.count(200), what="requests at the runtime")
    seen = runtime.seen[before:]
    assert len(seen) == answers.statuses.count(200), seen
    assert not runtime.faults
    for request in seen:
        assert (request.method, request.target, request.body) == ("POST", "/v1/images/generations", BODY)
        assert {name for name, _ in request.headers} <= PASSED_ON
        assert not any("identity" in value and name != "accept-encoding" for name, value in request.headers)
        assert all(len(request.values(name)) == 1 for name in ("host", "content-type"))
        assert request.values("host") == [f"{runtime.endpoint.host}:{runtime.endpoint.port}"]


def test_nothing_that_was_hidden_was_read(gateway: LoneGateway, runtime: Recorder) -> None:
    for case in CASES:
        if any(SMUGGLED in segment for segment in case.segments):
            talk(gateway, case)
    assert not any(SMUGGLED in seen.body for seen in runtime.seen)
