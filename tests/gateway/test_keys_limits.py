"""Rates and quotas over HTTP, and what OpenAI's client makes of their refusals."""

import hashlib
import json
import socket
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from cluster.waiting import eventually
from gateway.answers import CLIP, PICTURE, b64, broken_events, chunk, entry, events, images
from gateway.peers import Behaviour, Peer, answer, hold, reset
from gateway.running import Gateway, StartGateway
from heliograph_api.usage import Usage, usage_comment

KEY = {"authorization": "Bearer key"}
DRAW = {"model": "tiny", "prompt": "a circle"}


def keys_file(path: Path, **limits: Any) -> Path:
    entries = [{"name": "team", "sha256": hashlib.sha256(key).hexdigest(), **limits} for key in (b"key", b"second")]
    path.write_text(json.dumps({"keys": entries}))
    return path


def draw(gateway: Gateway, **fields: Any) -> httpx.Response:
    return gateway.client.post("/v1/images/generations", json=DRAW | fields, headers=KEY)


def client_of(gateway: Gateway, stack: ExitStack) -> openai.OpenAI:
    return stack.enter_context(openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="key"))


def test_openai_s_client_waits_as_long_as_it_is_told(start_gateway: StartGateway, tmp_path: Path) -> None:
    with ExitStack() as stack:
        peer = stack.enter_context(Peer(images(entry(PICTURE))))
        limits = keys_file(tmp_path / "keys.yaml", requestsPerMinute=6)
        gateway = start_gateway(endpoints=[peer.endpoint], keys_file=limits)
        images_of = client_of(gateway, stack).images.with_raw_response
        answers = [images_of.generate(model="tiny", prompt="a circle") for _ in range(7)]
        assert [one.retries_taken for one in answers] == [0] * 6 + [1]
        assert len(peer.requests) == 7, "what was refused was not drawn"


def test_a_key_that_asks_too_often_is_told_when_to_come_again(start_gateway: StartGateway, tmp_path: Path) -> None:
    with Peer(images(entry(PICTURE))) as peer:
        gateway = start_gateway(
            endpoints=[peer.endpoint], keys_file=keys_file(tmp_path / "keys.yaml", requestsPerMinute=2)
        )
        first, _ = draw(gateway), draw(gateway)
        assert first.headers["x-ratelimit-limit-requests"] == "2"
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        assert first.headers["x-ratelimit-reset-requests"].endswith("ms")
        # The other key of the same name has no bucket of its own.
        refused = gateway.client.post("/v1/images/generations", json=DRAW, headers={"api-key": "second"})
        assert refused.status_code == 429
        error = refused.json()["error"]
        assert (error["code"], error["type"]) == ("rate_limit_exceeded", "rate_limit_error")
        assert "The key 'team' may make 2 such requests a minute; try again in " in error["message"]
        assert 1 <= int(refused.headers["retry-after"]) <= 30
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        reads = [gateway.client.get("/v1/models", headers=KEY) for _ in range(20)]
        assert {read.status_code for read in reads} == {200}
        assert reads[0].headers["x-ratelimit-limit-requests"] == "600"
        assert len(peer.requests) == 2


def test_a_day_s_pictures_are_drawn_and_no_more(start_gateway: StartGateway, tmp_path: Path) -> None:
    with ExitStack() as stack:
        peer = stack.enter_context(Peer(images(entry(PICTURE), entry(PICTURE))))
        limits = keys_file(tmp_path / "keys.yaml", imagesPerDay=5)
        gateway = start_gateway(endpoints=[peer.endpoint], keys_file=limits)
        client = client_of(gateway, stack)
        for _ in range(2):
            client.images.generate(model="tiny", prompt="a circle", n=2)
        began = time.monotonic()
        with pytest.raises(openai.RateLimitError) as refused:
            client.images.generate(model="tiny", prompt="a circle", n=2)
        assert time.monotonic() - began < 30, "a client that repeats it waits for a day"
        assert (refused.value.code, refused.value.type) == ("insufficient_quota", "insufficient_quota")
        assert "2 pictures are more than is left today of the 5 a day that the key 'team' may draw" in str(
            refused.value
        )
        assert "begins anew at 20" in str(refused.value)
        assert refused.value.response.headers["x-should-retry"] == "false"
        assert refused.value.response.request.headers["x-stainless-retry-count"] == "0"
        assert len(peer.requests) == 2
        # What is left can be had in smaller parts.
        assert draw(gateway).status_code == 200
        assert draw(gateway).status_code == 429


def test_a_request_of_more_than_a_day_s_pictures_is_refused(start_gateway: StartGateway, tmp_path: Path) -> None:
    with Peer(images(entry(PICTURE))) as peer:
        limits = keys_file(tmp_path / "keys.yaml", imagesPerDay=3)
        gateway = start_gateway(endpoints=[peer.endpoint], keys_file=limits)
        assert draw(gateway, n=4).json()["error"]["code"] == "insufficient_quota"
        assert draw(gateway, n=3).status_code == 200


def used_up(gateway: Gateway) -> bool:
    """Return whether a key of one picture a day has drawn it; what is left of a failed attempt is given back."""
    return bool(draw(gateway).json().get("error", {}).get("code") == "insufficient_quota")


FAILURES: dict[str, Behaviour] = {
    "error": answer(500, {"error": {"message": "no", "type": "server_error", "param": None, "code": "broken"}}),
    "refusal": answer(400, {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": "x"}}),
    "reset": reset(),
    "drew nothing": answer(
        200, {"data": []}, "x-heliograph-usage: images=0, pixels=0, steps=0, seconds=0, gpu-seconds=0"
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_what_was_not_drawn_is_given_back(start_gateway: StartGateway, tmp_path: Path, failure: str) -> None:
    with Peer(FAILURES[failure]) as peer:
        limits = keys_file(tmp_path / "keys.yaml", imagesPerDay=1)
        gateway = start_gateway(endpoints=[peer.endpoint], keys_file=limits)
        for _ in range(3):
            assert draw(gateway).status_code != 429
        assert draw(gateway, prompt=7).status_code == 400
        peer.behaviour = images(entry(PICTURE))
        assert draw(gateway).status_code == 200
        assert used_up(gateway)


def test_a_client_that_leaves_before_the_answer_gets_its_picture_back(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    left = threading.Event()
    with Peer(hold(left)) as peer:
        limits = keys_file(tmp_path / "keys.yaml", imagesPerDay=1)
        gateway = start_gateway(endpoints=[peer.endpoint], keys_file=limits)
        with pytest.raises(httpx.ReadTimeout):
            gateway.client.post("/v1/images/generations", json=DRAW, headers=KEY, timeout=0.5)
        assert left.wait(30)
        peer.behaviour = images(entry(PICTURE))
        eventually(lambda: draw(gateway).status_code == 200, what="picture that was given back")
        assert used_up(gateway)


def test_a_stream_counts_once_it_has_begun(start_gateway: StartGateway, tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 100000\r\n\r\n"
    left = threading.Event()

    def begin(connection: socket.socket) -> None:
        connection.sendall(head + chunk(50.0))
        hold(left)(connection)

    with Peer(begin) as peer:
        limits = keys_file(tmp_path / "keys.yaml", imagesPerDay=1)
        gateway = start_gateway(endpoints=[peer.endpoint], keys_file=limits)
        asked = DRAW | {"stream": True}
        with gateway.client.stream("POST", "/v1/images/generations", json=asked, headers=KEY) as answer:
            assert next(answer.iter_raw())
        assert left.wait(30)
        assert used_up(gateway)


def test_an_error_is_told_even_if_nothing_can_be_given_back(start_gateway: StartGateway, tmp_path: Path) -> None:
    def break_off(connection: socket.socket) -> None:
        with sqlite3.connect(tmp_path / "data" / "gateway.sqlite3") as database:
            database.execute("DROP TABLE image_quotas")
        FAILURES["refusal"](connection)

    with Peer(break_off) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint], keys_file=keys_file(tmp_path / "keys.yaml", imagesPerDay=1))
        refused = draw(gateway)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "x")


def test_a_stream_that_fails_after_its_beginning_is_given_back(start_gateway: StartGateway, tmp_path: Path) -> None:
    failed = [chunk(50.0), usage_comment(Usage()), b"event: error\ndata: {}\n\n"]
    with Peer(events(failed)) as peer:
        limits = keys_file(tmp_path / "keys.yaml", imagesPerDay=1)
        gateway = start_gateway(endpoints=[peer.endpoint], keys_file=limits)
        for _ in range(2):
            assert draw(gateway, stream=True, stream_format="image.chunk").status_code == 200
        peer.behaviour = images(entry(PICTURE))
        assert draw(gateway).status_code == 200
        assert used_up(gateway)


def test_a_stream_whose_replica_dies_before_a_picture_is_given_back(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    with Peer(broken_events(chunk(50.0))) as peer:
        limits = keys_file(tmp_path / "keys.yaml", imagesPerDay=1)
        gateway = start_gateway(endpoints=[peer.endpoint], keys_file=limits)
        for _ in range(2):
            answer = draw(gateway, stream=True, stream_format="image.chunk")
            assert (answer.status_code, b"upstream_failed" in answer.content) == (200, True)
        peer.behaviour = images(entry(PICTURE))
        assert draw(gateway).status_code == 200
        assert used_up(gateway)


def test_webui_s_pictures_count(start_gateway: StartGateway, tmp_path: Path) -> None:
    with Peer(images(entry(PICTURE), entry(PICTURE))) as peer:
        limits = keys_file(tmp_path / "keys.yaml", imagesPerDay=3)
        gateway = start_gateway(endpoints=[peer.endpoint], keys_file=limits)
        body = {"prompt": "a circle", "batch_size": 2}
        answers = [gateway.client.post("/sdapi/v1/txt2img", json=body, headers=KEY) for _ in range(2)]
        assert [one.status_code for one in answers] == [200, 429]
        assert answers[1].json()["error"]["code"] == "insufficient_quota"


def test_clips_count_unless_they_fail_or_are_deleted_in_time(start_gateway: StartGateway, tmp_path: Path) -> None:
    clip = {"b64_json": b64(CLIP), "mime_type": "video/mp4"}
    done = events([chunk(50.0), chunk(100.0, finish_reason="stop", **clip), b"data: [DONE]\n\n"])
    with Peer(FAILURES["error"]) as peer:
        limits = keys_file(tmp_path / "keys.yaml", imagesPerDay=1)
        gateway = start_gateway(endpoints=[peer.endpoint], keys_file=limits)

        def create() -> httpx.Response:
            return gateway.client.post("/v1/videos", json=DRAW, headers=KEY)

        def status(job: httpx.Response) -> str:
            return str(gateway.client.get(f"/v1/videos/{job.json()['id']}", headers=KEY).json()["status"])

        failed = create()
        eventually(lambda: status(failed) == "failed", what="failed job")
        left = threading.Event()
        peer.behaviour = hold(left)

        def created() -> httpx.Response | None:
            answer = create()
            return answer if answer.is_success else None

        waiting = eventually(created, what="clip that was given back")
        assert waiting is not None
        assert create().json()["error"]["code"] == "insufficient_quota"
        gateway.client.delete(f"/v1/videos/{waiting.json()['id']}", headers=KEY).raise_for_status()
        peer.behaviour = done
        drawn = create()
        eventually(lambda: status(drawn) == "completed", what="clip")
        assert create().json()["error"]["code"] == "insufficient_quota"


def test_a_clip_that_was_not_counted_is_not_given_back(start_gateway: StartGateway, tmp_path: Path) -> None:
    """The key has had no quota when its clip was asked for, and has one when the clip is deleted."""
    with Peer(hold(threading.Event())) as peer:
        unlimited = start_gateway(endpoints=[peer.endpoint], keys_file=keys_file(tmp_path / "keys.yaml"))
        job = unlimited.client.post("/v1/videos", json=DRAW, headers=KEY).json()["id"]
        unlimited.stop()
        limits = keys_file(tmp_path / "keys.yaml", imagesPerDay=1)
        gateway = start_gateway(endpoints=[peer.endpoint], keys_file=limits)
        peer.behaviour = images(entry(PICTURE))
        assert draw(gateway).status_code == 200
        gateway.client.delete(f"/v1/videos/{job}", headers=KEY).raise_for_status()
        assert used_up(gateway)


def test_two_gateways_draw_as_many_as_one_may(
    start_gateway: StartGateway, tmp_path: Path, database_place: Path | str
) -> None:
    with ExitStack() as stack:
        options = {
            "database_url": f"sqlite:///{database_place}" if isinstance(database_place, Path) else database_place
        }
        peer = stack.enter_context(Peer(images(entry(PICTURE))))
        options["signing_key"] = "0123456789abcdef"
        limits = keys_file(tmp_path / "keys.yaml", imagesPerDay=20)
        gateways = [start_gateway(endpoints=[peer.endpoint], keys_file=limits, **options) for _ in range(2)]
        for gateway in gateways:
            # Routes are built when they are first looked through, for which pydantic must be alone in its process.
            assert gateway.client.get("/nothing", headers=KEY).status_code == 404
        with ThreadPoolExecutor(16) as clients:
            answers = list(clients.map(draw, gateways * 30))
        assert sorted(one.status_code for one in answers) == [200] * 20 + [429] * 40
        assert len(peer.requests) == 20
