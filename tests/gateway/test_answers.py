"""Answers that are changed on their way: how large they may be, and how many of them there may be in memory."""

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from cluster.waiting import eventually
from gateway.answers import PICTURE, chunk, entry, events, images
from gateway.peers import Peer
from gateway.running import Gateway, StartGateway
from heliograph_api.errors import APIError
from heliograph_api.images.model_rules import DEFAULT_MAX_IMAGES, DEFAULT_MAX_PIXELS
from heliograph_gateway.answers import WholeAnswers
from heliograph_gateway.events import END, whole_events
from heliograph_gateway.settings import GatewaySettings

_MIB = 1024 * 1024
BODY = {"model": "tiny", "prompt": "a circle"}


def draw(gateway: Gateway, path: str = "/v1/images/generations", **fields: Any) -> httpx.Response:
    return gateway.client.post(path, json=BODY | fields)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_as_many_pictures_as_a_model_draws_fit_however_large_they_are() -> None:
    """PNG keeps what it cannot compress as it is, with a byte for each line and some for each 64 KiB."""
    pixels = DEFAULT_MAX_IMAGES * DEFAULT_MAX_PIXELS
    file_bytes = pixels * 4 * 1.001
    assert GatewaySettings().max_whole_answer_bytes > file_bytes * 4 / 3 + 10_000
    assert GatewaySettings().max_buffered_answer_bytes >= GatewaySettings().max_whole_answer_bytes


@pytest.mark.parametrize("setting", ["max_whole_answer_bytes", "max_buffered_answer_bytes"])
@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("/v1/images/generations", "ask for fewer or smaller pictures, for a shorter clip, or for b64_json."),
        ("/sdapi/v1/txt2img", "ask for fewer or smaller pictures."),
    ],
)
def test_an_answer_that_is_too_large_to_be_changed_is_an_error(
    start_gateway: StartGateway, path: str, remedy: str, setting: str
) -> None:
    """The bound of all answers is one of each, too: what is larger would be told for ever to come again later."""
    behaviour = images(entry(bytes(300_000)))
    with Peer(behaviour) as peer:
        settings = {"endpoints": [peer.endpoint], "response_format": "both"}
        just = start_gateway(**settings, **{setting: 400_200})
        assert draw(just, path).status_code == 200
        small = start_gateway(**settings, **{setting: 400_000})
        refused = draw(small, path)
        assert refusal(refused) == (502, "upstream_error")
        problem = "more than the 400000 bytes that the gateway can keep of one answer"
        assert refused.json()["error"]["message"] == f"The model answered with {problem} ({setting}); {remedy}"
        # As it comes it needs no room.
        assert draw(small, response_format="b64_json").status_code == 200
        peer.behaviour = images(entry(PICTURE))
        assert draw(small, path).status_code == 200


def test_an_answer_of_countless_values_is_an_error(start_gateway: StartGateway) -> None:
    with Peer(images(entry(PICTURE), more=[[]] * 600_000)) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint], response_format="both")
        assert refusal(draw(gateway)) == (502, "upstream_error")


def test_answers_that_nobody_reads_leave_no_room_for_others(start_gateway: StartGateway) -> None:
    with Peer(images(entry(bytes(15 * _MIB)))) as peer:
        gateway = start_gateway(
            endpoints=[peer.endpoint], response_format="both", max_buffered_answer_bytes=30 * _MIB, write_seconds=300
        )
        content = json.dumps(BODY).encode()
        head = f"POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n"
        head += "Content-Type: application/json\r\nConnection: close\r\n\r\n"
        url = httpx.URL(gateway.url)
        with closing(socket.socket()) as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.settimeout(30)
            slow.connect((url.host, url.port))
            slow.sendall(head.encode() + content)
            assert slow.recv(12) == b"HTTP/1.1 200"
            refused = draw(gateway)
            assert refusal(refused) == (503, "overloaded")
            assert "max_buffered_answer_bytes" in refused.json()["error"]["message"]
            assert refused.headers["retry-after"] == "5"
            assert refused.headers["x-should-retry"] == "false", "it would be drawn again"
            rest = b""
            while part := slow.recv(1 << 20):
                rest += part
            assert rest.endswith(b"0\r\n\r\n")
        eventually(lambda: draw(gateway).status_code == 200, what="room")


def test_pieces_of_a_picture_are_on_the_account(start_gateway: StartGateway) -> None:
    sent = [chunk(100.0, b64_json="A" * 60_000) for _ in range(50)]
    with Peer(events(sent)) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint], max_whole_answer_bytes=2_000_000)
        answer = draw(gateway, "/v1-openai/image/generate", stream=True, response_format="url")
        assert b"max_whole_answer_bytes" in answer.content
        # Others that stream have all of the room again.
        peer.behaviour = events([*sent[:10], chunk(100.0, b64_json="", finish_reason="stop")] * 5)
        answer = draw(gateway, "/v1-openai/image/generate", stream=True, response_format="url")
        assert answer.content.count(b'"url"') == 5, answer.text


async def in_parts(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]
        await asyncio.sleep(0)


def taken_apart(content: bytes, size: int, **settings: Any) -> list[bytes]:
    account = WholeAnswers(GatewaySettings(**settings))

    async def read() -> list[bytes]:
        # All that the largest event can be is looked through once, not once for each part.
        async with asyncio.timeout(60):
            with closing(account.share(remedy="ask for less")) as share:
                return [event async for found in whole_events(in_parts(content, size), share) for event in found]

    found = asyncio.run(read())
    assert account.taken == 0
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_events_are_taken_apart_however_they_come(size: int) -> None:
    sent = [b"data: 1", b": c", b"", b"event: x\ndata: y", b"\ndata"]
    assert taken_apart(END.join([*sent, b"half"]), size) == END.join(sent).split(END)


def test_a_long_event_in_many_parts() -> None:
    long = b"data: " + bytes(96 * _MIB)
    assert taken_apart(b"a" + END + long + END + b"b" + END, 4096) == [b"a", long, b"b"]


def test_an_event_has_a_largest_size() -> None:
    with pytest.raises(APIError, match="max_whole_answer_bytes"):
        taken_apart(b"data: " + bytes(100_000), 1000, max_whole_answer_bytes=50_000)
    with pytest.raises(APIError, match=r"50000 bytes .*\(max_buffered_answer_bytes\); ask for less\.$"):
        taken_apart(b"data: " + bytes(100_000), 1000, max_buffered_answer_bytes=50_000)
    assert len(taken_apart((b"data: " + bytes(1000) + END) * 100, 1000, max_whole_answer_bytes=50_000)) == 100


def test_a_picture_in_many_pieces(start_gateway: StartGateway) -> None:
    """40 MB of base64 in pieces of 1 KiB, as a client may want it."""
    content = bytes(range(256)) * (117_000)
    text = base64.b64encode(content).decode()
    pieces = [chunk(100.0, b64_json=text[start : start + 1024]) for start in range(0, len(text), 1024)]
    with Peer(events([*pieces, chunk(100.0, b64_json="", finish_reason="stop")])) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint])
        body = BODY | {"stream": True, "response_format": "url"}
        answer = gateway.client.post("/v1-openai/image/generate", json=body, timeout=60)
        (item,) = json.loads(answer.content.removeprefix(b"data: "))["data"]
        assert httpx.get(item["url"], trust_env=False).content == content
