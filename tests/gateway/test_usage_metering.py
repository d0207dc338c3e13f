"""What a gateway counts of what its runtimes tell."""

import json
import logging
import socket
import threading
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cluster.waiting import eventually
from gateway.answers import CLIP, PICTURE, b64, broken_events, chunk, entry, events
from gateway.metered import ADMIN, ALICE, BOB, ask_usage, bearer, post, recorded, write_keys
from gateway.peers import Behaviour, Peer, answer
from gateway.running import Gateway, StartGateway
from heliograph_api.usage import USAGE_HEADER, Usage, usage_comment
from heliograph_gateway.logs import JsonFormatter, PlainFormatter

USED = Usage(images=1, pixels=64 * 48, steps=20, seconds=1.5, gpu_seconds=3.0)
BOTH = USED + USED
COMPLETED = b'event: image_generation.completed\ndata: {"type": "image_generation.completed", "b64_json": "AAAA"}\n\n'
SECRET = "canary"


class Start(Protocol):
    def __call__(self, behaviour: Behaviour, **settings: Any) -> AbstractContextManager[Gateway]: ...


@pytest.fixture
def metered(start_gateway: StartGateway, tmp_path: Path) -> Start:
    """Serve a gateway with keys before a peer."""

    @contextmanager
    def start(behaviour: Behaviour, **settings: Any) -> Any:
        with Peer(behaviour) as peer:
            keys = write_keys(tmp_path / "keys.json")
            gateway = start_gateway(endpoints=[peer.endpoint], keys_file=keys, **settings)
            gateway.client.headers.update(bearer(ADMIN))
            yield gateway

    return start


def told(*entries: dict[str, Any], usage: str = USED.text()) -> Behaviour:
    """Answer with an images response and what it took."""
    body = {"created": 1, "data": list(entries), "output_format": "png", "size": "64x48", "usage": {}}
    return answer(200, body, f"{USAGE_HEADER}: {usage}")


def expect_recorded(gateway: Gateway, **expected: tuple[int, Usage]) -> None:
    eventually(lambda: recorded(gateway) == expected, what=f"{expected}, not {recorded(gateway)}")


def test_a_whole_answer_is_counted_for_its_key_and_model(metered: Start) -> None:
    with metered(told(entry(PICTURE))) as gateway:
        for key in (ALICE, ALICE, BOB):
            response = post(gateway, key)
            assert response.status_code == 200
            assert USAGE_HEADER not in response.headers
        expect_recorded(gateway, alice=(2, BOTH), bob=(1, USED))
        about = {"namespace": "default", "model": "tiny"}
        gateway.expect_metric(2, "heliograph_gateway_usage_images_total", key="alice", **about)
        gateway.expect_metric(1, "heliograph_gateway_usage_images_total", key="bob", **about)
        gateway.expect_metric(2 * 64 * 48, "heliograph_gateway_usage_pixels_total", key="alice", **about)
        gateway.expect_metric(40, "heliograph_gateway_usage_steps_total", key="alice", **about)
        gateway.expect_metric(3.0, "heliograph_gateway_usage_seconds_total", key="alice", **about)
        gateway.expect_metric(6.0, "heliograph_gateway_usage_gpu_seconds_total", key="alice", **about)
        gateway.expect_metric(3, "heliograph_gateway_request_seconds_count", **about)
        gateway.expect_metric(3, "heliograph_gateway_held_seconds_count", **about)


def test_an_answer_that_gets_links_is_counted_too(metered: Start) -> None:
    with metered(told(entry(PICTURE), entry(PICTURE), usage=BOTH.text()), response_format="url") as gateway:
        assert post(gateway).json()["data"][0]["url"]
        expect_recorded(gateway, alice=(1, BOTH))


def test_the_web_uis_answer_is_counted_too(metered: Start) -> None:
    with metered(told(entry(PICTURE))) as gateway:
        response = post(gateway, path="/sdapi/v1/txt2img", override_settings={"sd_model_checkpoint": "tiny"})
        assert response.json()["images"] == [b64(PICTURE)]
        assert USAGE_HEADER not in response.headers
        expect_recorded(gateway, alice=(1, USED))


@pytest.mark.parametrize("form", ["b64_json", "url"])
def test_a_stream_is_counted_and_its_client_does_not_see_how(metered: Start, form: str) -> None:
    last = chunk(100.0, finish_reason="stop", b64_json=b64(PICTURE))
    blocks = [chunk(50.0), usage_comment(USED), last, usage_comment(BOTH), last, b"data: [DONE]\n\n"]
    with metered(events(blocks)) as gateway:
        response = post(gateway, stream=True, stream_format="image.chunk", response_format=form)
        assert b"heliograph-usage" not in response.content
        assert response.content.startswith(chunk(50.0))
        assert response.content.endswith(b"data: [DONE]\n\n")
        expect_recorded(gateway, alice=(1, BOTH))


def test_a_stream_that_fails_costs_what_it_brought(metered: Start) -> None:
    read = threading.Event()

    def behave(connection: socket.socket) -> None:
        broken_events(usage_comment(USED), COMPLETED)(connection)
        read.wait(30)

    with metered(behave) as gateway:
        body = {"model": "tiny", "prompt": "a", "n": 2, "stream": True}
        with gateway.client.stream("POST", "/v1/images/generations", json=body, headers=bearer(ALICE)) as response:
            lines = response.iter_lines()
            shown = [next(lines)]
            read.set()
            shown += lines
        assert "event: error" in shown
        assert not [line for line in shown if "heliograph-usage" in line]
        expect_recorded(gateway, alice=(1, USED))


def test_a_stream_that_brought_nothing_costs_nothing(metered: Start) -> None:
    blocks = [chunk(50.0), usage_comment(Usage()), b"event: error\ndata: {}\n\n"]
    with metered(events(blocks)) as gateway:
        assert b"event: error" in post(gateway, stream=True, stream_format="image.chunk").content
        gateway.expect_metric(1, "heliograph_gateway_requests_total", status="502", model="tiny")
        gateway.expect_metric(0, "heliograph_gateway_request_seconds_count", model="tiny")
        assert recorded(gateway) == {}


def test_a_client_that_leaves_with_a_picture_pays_for_it(metered: Start) -> None:
    left = threading.Event()

    def behave(connection: socket.socket) -> None:
        events_head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
        connection.sendall(events_head + usage_comment(USED) + COMPLETED)
        if connection.recv(1) == b"":
            left.set()

    with metered(behave) as gateway:
        body = {"model": "tiny", "prompt": "a", "n": 2, "stream": True}
        with gateway.client.stream("POST", "/v1/images/generations", json=body, headers=bearer(ALICE)) as response:
            lines = response.iter_lines()
            assert next(lines).startswith("event: image_generation.completed")
        assert left.wait(30)
        expect_recorded(gateway, alice=(1, USED))


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        (answer(500, {"error": {"message": "x", "type": "x", "param": None, "code": "x"}}, f"{USAGE_HEADER}: x"), 500),
        (answer(200, b"no json", f"{USAGE_HEADER}: {USED.text()}"), 502),
        (told(entry(PICTURE), usage="images=1"), 200),
        (told(entry(PICTURE), usage=USED.text().replace("pixels=", "pixels=99999999999999")), 200),
    ],
    ids=["failed", "no pictures", "not understood", "out of bounds"],
)
def test_what_came_to_nothing_and_what_nobody_understands_costs_nothing(
    metered: Start, behaviour: Behaviour, status: int
) -> None:
    with metered(behaviour, response_format="url") as gateway:
        assert post(gateway).status_code == status
        gateway.expect_metric(1, "heliograph_gateway_requests_total", status=str(status), model="tiny")
        assert recorded(gateway) == {}


@pytest.mark.filterwarnings("ignore:The Sora API")  # the client warns of the end of OpenAI's own service
def test_a_clip_of_a_job_is_counted_for_the_key_that_made_the_job(metered: Start) -> None:
    clip = chunk(100.0, finish_reason="stop", b64_json=b64(CLIP), mime_type="video/mp4")
    with metered(events([chunk(50.0), usage_comment(USED), clip, b"data: [DONE]\n\n"])) as gateway:
        with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=BOB, max_retries=0) as client:
            video = client.videos.create(model="tiny", prompt="a")
            eventually(lambda: client.videos.retrieve(video.id).status == "completed", what="the clip")
            assert client.videos.download_content(video.id).content == CLIP
        expect_recorded(gateway, bob=(1, USED))
        gateway.expect_metric(1, "heliograph_gateway_usage_images_total", key="bob")


def test_usage_outlives_the_gateway(metered: Start, start_gateway: StartGateway, tmp_path: Path) -> None:
    with metered(told(entry(PICTURE)), data_dir=tmp_path / "kept") as gateway:
        for _ in range(3):
            post(gateway)
        gateway.stop()
    again = start_gateway(data_dir=tmp_path / "kept", keys_file=tmp_path / "keys.json")
    requests, used = recorded(again)["alice"]
    assert (requests, used.images) == (3, 3)


def test_series_of_a_model_end_with_it(metered: Start) -> None:
    with metered(told(entry(PICTURE))) as gateway:
        post(gateway)
        gateway.expect_metric(1, "heliograph_gateway_usage_images_total", model="tiny")
        gateway.expect_metric(1, "heliograph_gateway_request_seconds_count", model="tiny")
        gateway.routes.remove_model("default", "tiny")
        text = gateway.client.get("/metrics").text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        assert [sample for sample in samples if sample.labels.get("model") == "tiny"] == []
        # What was used stays on record.
        assert recorded(gateway)["alice"][0] == 1
        assert ask_usage(gateway, models="tiny", group_by="model").json()["data"][1]["results"][0]["images"] == 1


AUDIT = "heliograph_gateway.audit"


def audit_records(caplog: pytest.LogCaptureFixture, path: str) -> list[logging.LogRecord]:
    def found() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.name == AUDIT and f" {path} " in record.getMessage()]

    eventually(lambda: bool(found()), what="line of the request")
    return found()


def test_the_audit_line_says_who_asked_for_what_and_got_what(metered: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with metered(told(entry(PICTURE))) as gateway:
        response = post(gateway, prompt=SECRET)
        (record,) = audit_records(caplog, "/v1/images/generations")
        fields = json.loads(JsonFormatter().format(record))
        assert fields.pop("time").endswith("+00:00")
        assert fields.pop("milliseconds") > 0
        assert fields.pop("held_milliseconds") >= 0
        assert fields == {
            "level": "INFO",
            "logger": AUDIT,
            "request_id": response.headers["x-request-id"],
            "key": "alice",
            "method": "POST",
            "path": "/v1/images/generations",
            "model": "default/tiny",
            "status": 200,
            "images": 1,
            "bytes_in": len(response.request.content),
            "bytes_out": len(response.content),
            "client": "127.0.0.1",
        }
        assert SECRET not in PlainFormatter().format(record)


@pytest.mark.parametrize("how", ["told", "cut"])
def test_a_stream_that_breaks_off_is_counted_and_logged_as_a_failure(
    metered: Start, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """Its client has seen 200, since the answer had begun by then."""
    caplog.set_level(logging.INFO)
    with metered(broken_events(usage_comment(USED), COMPLETED)) as gateway:
        if how == "told":
            response = post(gateway, n=2, stream=True)
            assert response.status_code == 200
            assert response.content.endswith(b"\n\n")
        else:
            with pytest.raises(httpx.RemoteProtocolError):
                post(gateway, n=2)
        (record,) = audit_records(caplog, "/v1/images/generations")
        assert json.loads(JsonFormatter().format(record))["status"] == 502
        gateway.expect_metric(1, "heliograph_gateway_requests_total", status="502", model="tiny")
        gateway.expect_metric(0, "heliograph_gateway_request_seconds_count", model="tiny")
        # What it brought is paid for all the same.
        expect_recorded(gateway, alice=(1, USED))


def test_audit_lines_hold_templates_of_paths_and_no_query(metered: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with metered(told(entry(PICTURE))) as gateway:
        gateway.client.get(f"/v1/videos/video_{SECRET}?x={SECRET}")
        gateway.client.get(f"/v1/usage?start_time={SECRET}")
        audit_records(caplog, "/v1/usage")
    lines = [record.getMessage() for record in caplog.records if record.name == AUDIT]
    assert [line for line in lines if line.startswith("GET /v1/videos/{video_id} 404 ")]
    assert not [line for line in lines if SECRET in line]


@pytest.mark.parametrize("formatter", [PlainFormatter(), JsonFormatter()])
def test_no_bytes_make_a_line_of_their_own(formatter: logging.Formatter) -> None:
    nasty = "a\r\n2026-01-01 INFO heliograph_gateway.audit: forged\x1b[31m\u2028\x85\x00"
    error = ValueError(nasty)
    record = logging.LogRecord("a", logging.INFO, "", 0, "%s", (nasty,), (ValueError, error, None))
    lines = formatter.format(record).splitlines()
    assert not [line for line in lines if line.startswith("2026-01-01 INFO")]
    assert all(line.startswith("  ") for line in lines[1:])
    assert not set("".join(lines)) & set("\r\x1b\x00\u2028\x85")
