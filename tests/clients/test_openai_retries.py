"""What OpenAI's clients make of failures, and when they try again: a gateway in front of runtimes that fail at will."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from clients.conftest import ServeBefore
from clients.driven import SDK, ClientError, stream_of
from gateway.peers import Behaviour, Peer, answer, hold, reset, say

MAJORS = {
    "python": ("python", "3"),
    "python-previous": ("python", "2"),
    "node": ("js", "7"),
    "node-previous": ("js", "6"),
}
ASKED = {"model": "tiny", "prompt": "a red circle", "response_format": "b64_json"}
PICTURES = {"created": 1, "data": [{"b64_json": "AAAA"}]}
BUSY: dict[str, Any] = {
    "message": "This model is busy.",
    "type": "rate_limit_error",
    "param": None,
    "code": "rate_limit_exceeded",
}
FULL = {**BUSY, "code": "queue_full"}
PARTIAL: dict[str, Any] = {
    "type": "image_generation.partial_image", "b64_json": "AAAA", "partial_image_index": 0, "created_at": 1,
    "size": "64x64", "quality": "high", "background": "opaque", "output_format": "png",
}  # fmt: skip
FAILURE = {"message": "There is no memory left.", "type": "server_error", "param": None, "code": "out_of_memory"}


def event(kind: str, content: dict[str, Any]) -> bytes:
    """Return an event as a chunk of an HTTP answer."""
    written = f"event: {kind}\ndata: {json.dumps(content)}\n\n".encode()
    return f"{len(written):x}\r\n".encode() + written + b"\r\n"


BEGINNING = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + event(
    PARTIAL["type"], PARTIAL
)
TOLD = BEGINNING + event("error", {"type": "error", "error": FAILURE}) + b"0\r\n\r\n"


def refusal(status: int, *headers: str) -> Behaviour:
    """Refuse as a runtime does, for another reason than a full queue: for that the gateway holds the request."""
    return answer(status, {"error": BUSY}, *headers)


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Do one thing at each request, and the last for good."""
    left = list(behaviours)

    def behave(connection: socket.socket) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(connection)

    return behave


StartPeer = Callable[[Behaviour], Peer]


@pytest.fixture
def runtime() -> Iterator[StartPeer]:
    """Start a runtime that does as it is told."""
    with ExitStack() as peers:
        yield lambda behaviour: peers.enter_context(Peer(behaviour))


def test_the_versions_that_are_run(sdk: SDK, request: pytest.FixtureRequest) -> None:
    with Peer(answer(200, {"object": "list", "data": []})) as peer:
        sdk.at(peer.endpoint.url).call("models.list")
    (received,) = peer.requests
    language, version = received.headers["x-stainless-lang"], received.headers["x-stainless-package-version"]
    assert (language, version.split(".")[0]) == MAJORS[request.node.callspec.params["sdk"]]


@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_that_says_when_is_tried_again(
    sdk: SDK, serve_before: ServeBefore, runtime: StartPeer, status: int
) -> None:
    peer = runtime(in_turn(refusal(status, "retry-after: 0.1"), answer(200, PICTURES)))
    client = sdk.at(f"{serve_before(peer)}/v1", max_retries=2)
    assert client.call("images.generate", **ASKED) == PICTURES
    assert len(peer.requests) == 2


def test_a_refusal_is_raised_once_nothing_helps(sdk: SDK, serve_before: ServeBefore, runtime: StartPeer) -> None:
    peer = runtime(refusal(429, "retry-after: 0.1"))
    with pytest.raises(ClientError) as caught:
        sdk.at(f"{serve_before(peer)}/v1", max_retries=1).call("images.generate", **ASKED)
    error = caught.value
    assert (error.kind, error.status, error.code) == ("RateLimitError", 429, "rate_limit_exceeded")
    assert BUSY["message"] in error.message
    assert error.request_id == peer.requests[-1].headers["x-request-id"]
    assert len(peer.requests) == 2


def test_a_full_queue_is_raised_after_the_hold(sdk: SDK, serve_before: ServeBefore, runtime: StartPeer) -> None:
    peer = runtime(answer(429, {"error": FULL}, "retry-after: 0.1"))
    with pytest.raises(ClientError) as caught:
        sdk.at(f"{serve_before(peer, hold_seconds=0.2)}/v1", max_retries=0).call("images.generate", **ASKED)
    error = caught.value
    assert (error.kind, error.status, error.code) == ("RateLimitError", 429, "queue_full")
    assert FULL["message"] in error.message


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        pytest.param(refusal(500), 500, id="failed"),
        pytest.param(refusal(503, "x-should-retry: false", "retry-after: 0.1"), 503, id="not to be repeated"),
        pytest.param(reset(), 502, id="died"),
        pytest.param(answer(200, b"<html>", content_type="text/html"), 502, id="no runtime"),
    ],
)
def test_work_that_failed_is_not_tried_again(
    sdk: SDK, serve_before: ServeBefore, runtime: StartPeer, behaviour: Behaviour, status: int
) -> None:
    peer = runtime(behaviour)
    asked = {**ASKED, "response_format": "both"}
    with pytest.raises(ClientError) as caught:
        sdk.at(f"{serve_before(peer)}/v1", max_retries=2).call("images.generate", **asked)
    assert (caught.value.kind, caught.value.status) == ("InternalServerError", status)
    assert len(peer.requests) == 1


def test_a_runtime_that_does_not_answer_is_not_tried_again(
    sdk: SDK, serve_before: ServeBefore, runtime: StartPeer
) -> None:
    left = threading.Event()
    peer = runtime(hold(left))
    with pytest.raises(ClientError) as caught:
        sdk.at(f"{serve_before(peer, read_timeout=0.2)}/v1", max_retries=2).call("images.generate", **ASKED)
    assert (caught.value.status, caught.value.code) == (504, "upstream_timeout")
    assert len(peer.requests) == 1
    assert left.wait(30)


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        pytest.param(say(TOLD), "out_of_memory", id="failed"),
        pytest.param(reset(BEGINNING), "upstream_failed", id="died"),
    ],
)
def test_a_stream_that_breaks_off_raises(
    sdk: SDK, serve_before: ServeBefore, runtime: StartPeer, behaviour: Behaviour, code: str
) -> None:
    peer = runtime(behaviour)
    events, error = sdk.at(f"{serve_before(peer)}/v1", max_retries=2).stream("images.generate", **ASKED)
    assert [shown["type"] for shown in events] == [PARTIAL["type"]]
    assert error
    assert error.code == code
    assert len(peer.requests) == 1


@pytest.mark.parametrize("way", ["call", "stream"])
def test_a_wrong_key_is_an_authentication_error(
    sdk: SDK, serve_before: ServeBefore, runtime: StartPeer, way: str
) -> None:
    peer = runtime(answer(200, PICTURES))
    url = f"{serve_before(peer, api_key='right')}/v1"
    assert sdk.at(url, api_key="right").call("images.generate", **ASKED) == PICTURES
    client = sdk.at(url, api_key="wrong")
    with pytest.raises(ClientError) as caught:
        getattr(client, way)("images.generate", **ASKED)
    error = caught.value
    assert (error.kind, error.code) == ("AuthenticationError", "invalid_api_key")
    assert "wrong" not in error.message
    assert len(peer.requests) == 1


@pytest.mark.parametrize("sdk", ["node", "node-previous"], indirect=True)
def test_node_sends_files_in_chunks(sdk: SDK, runtime: StartPeer, tmp_path: Path) -> None:
    # What test_openai_clients.py says of files that are streamed would else not be about chunks at all.
    (tmp_path / "picture.png").write_bytes(b"picture")
    peer = runtime(answer(200, PICTURES))
    asked = {**ASKED, "image": stream_of(tmp_path / "picture.png")}
    with suppress(ClientError):  # such a runtime does not read what comes in chunks
        sdk.at(peer.endpoint.url).call("images.edit", **asked)
    assert peer.requests[0].headers["transfer-encoding"] == "chunked"
