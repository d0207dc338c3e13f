"""OpenAI's videos endpoints, through OpenAI's own client where it has them."""

import hashlib
import json
import socket
import threading
from pathlib import Path
from typing import Any

import openai
import pytest

from cluster.waiting import eventually
from gateway.answers import CLIP, broken_events, chunk, entry, events
from gateway.manifests import image_model
from gateway.peers import Behaviour, Peer, answer, hold
from gateway.picture_hosts import PNG
from gateway.running import ConnectClient, StartGateway
from gateway.video_jobs import CLIP_EVENTS, drawing, ended
from heliograph_api.naming import child_name

# The client warns of the end of OpenAI's own service.
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API")


def test_a_clip_is_made_and_fetched(start_gateway: StartGateway, connect: ConnectClient) -> None:
    with drawing(events(CLIP_EVENTS), start_gateway) as (peer, gateway):
        client = connect(gateway.url)
        video = client.videos.create(
            model="tiny", prompt="a circle", seconds="4", size="720x1280", input_reference=("a.png", PNG),
            extra_body={"stream_options_chunk_result": "true"},
        )  # fmt: skip
        assert (video.object, video.status, video.model) == ("video", "queued", "tiny")
        assert (video.prompt, video.seconds, video.size) == ("a circle", "4", "720x1280")
        done = ended(client, video.id)
        assert (done.status, done.progress, done.error) == ("completed", 100, None)
        assert (done.size, done.seconds) == ("720x1278", "4.05"), "as the model drew it"
        assert done.completed_at
        assert done.expires_at == pytest.approx(done.completed_at + 86_400, abs=2)
        content = client.videos.download_content(video.id)
        assert (content.content, content.response.headers["content-type"]) == (CLIP, "video/mp4")
        part = gateway.client.get(f"/v1/videos/{video.id}/content", headers={"range": "bytes=4-7"})
        assert (part.status_code, part.content) == (206, b"ftyp")
    (received,) = peer.requests
    assert received.line == "POST /video HTTP/1.1"
    body = json.loads(received.body)
    assert {name: body[name] for name in ("prompt", "seconds", "stream", "stream_format")} == {
        "prompt": "a circle", "seconds": "4", "stream": True, "stream_format": "image.chunk",
    }  # fmt: skip
    assert not [name for name in body if name.startswith("stream_options")], "the clip comes in one piece"


def test_jobs_are_listed_and_deleted(start_gateway: StartGateway, connect: ConnectClient) -> None:
    with drawing(events(CLIP_EVENTS), start_gateway) as (_, gateway):
        client = connect(gateway.url)
        made = [client.videos.create(model="tiny", prompt=prompt).id for prompt in ("a", "b", "c")]
        assert [video.id for video in client.videos.list(limit=2)] == made[::-1]
        assert [video.id for video in client.videos.list(order="asc", after=made[0])] == made[1:]
        ended(client, made[0])
        deleted = client.videos.delete(made[0])
        assert (deleted.id, deleted.deleted, deleted.object) == (made[0], True, "video.deleted")
        for call in (client.videos.retrieve, client.videos.delete, client.videos.download_content):
            with pytest.raises(openai.NotFoundError) as caught:
                call(made[0])
            assert caught.value.code == "video_not_found"
        with pytest.raises(openai.BadRequestError) as bad:
            list(client.videos.list(after="video_x"))
        assert bad.value.param == "after"


def test_a_job_that_is_deleted_stops(start_gateway: StartGateway, connect: ConnectClient) -> None:
    left = threading.Event()
    with drawing(hold(left), start_gateway) as (peer, gateway):
        client = connect(gateway.url)
        video = client.videos.create(model="tiny", prompt="a")
        eventually(lambda: len(peer.requests) == 1, what="the request at the runtime")
        with pytest.raises(openai.ConflictError) as early:
            client.videos.download_content(video.id)
        assert early.value.code == "video_not_ready"
        client.videos.delete(video.id)
        assert left.wait(30)


@pytest.mark.parametrize(
    ("behaviour", "code", "message"),
    [
        (broken_events(chunk(25.0)), "upstream_failed", "failed at the request"),
        (events([chunk(25.0), b"data: [DONE]\n\n"]), "upstream_error", "without a clip"),
        (events([b"data: nonsense\n\n"]), "upstream_error", "without a clip"),
        (
            events([b'event: error\ndata: {"error": {"message": "It broke.", "code": "generation_failed"}}\n\n']),
            "generation_failed",
            "It broke.",
        ),
        (
            events([b'event: error\ndata: {"error": {"message": {}, "code": 7}}\n\n']),
            "upstream_error",
            "without a clip",
        ),
        (
            answer(400, {"error": {"message": "fps: no.", "type": "t", "param": "fps", "code": "invalid_value"}}),
            "invalid_value",
            "fps: no.",
        ),
    ],
    ids=["breaks off", "no clip", "no events", "error event", "no error", "refusal"],
)
def test_a_job_that_fails_says_why(
    start_gateway: StartGateway, connect: ConnectClient, behaviour: Behaviour, code: str, message: str
) -> None:
    with drawing(behaviour, start_gateway) as (_, gateway):
        client = connect(gateway.url)
        video = ended(client, client.videos.create(model="tiny", prompt="a").id)
        assert (video.status, video.error.code) == ("failed", code)
        assert message in video.error.message
        with pytest.raises(openai.ConflictError, match="The video failed"):
            client.videos.download_content(video.id)


def test_a_clip_that_finds_no_room_is_not_drawn_again(start_gateway: StartGateway, connect: ConnectClient) -> None:
    large = chunk(100.0, finish_reason="stop", **entry(bytes(12_000), mime_type="video/mp4"))

    def draw(connection: socket.socket) -> None:
        if peer.requests[-1].line.startswith("POST /video"):
            events([large])(connection)
            return
        # A piece of a picture that stays with the gateway, and what its client hears of after that.
        broken_events(chunk(100.0, b64_json="A" * 10_000), chunk(50.0))(connection)
        hold(threading.Event())(connection)

    with drawing(draw, start_gateway, max_buffered_answer_bytes=25_000) as (peer, gateway):
        client = connect(gateway.url)
        body = {"model": "tiny", "prompt": "a", "stream": True, "response_format": "url"}
        with gateway.client.stream("POST", "/v1-openai/image/generate", json=body) as other:
            lines = other.iter_lines()
            assert any('"progress": 50.0' in line for line in lines)
            done = ended(client, client.videos.create(model="tiny", prompt="a").id)
        assert (done.status, done.error.code) == ("failed", "overloaded")
        assert len(peer.requests) == 2


@pytest.mark.parametrize("setting", ["max_whole_answer_bytes", "max_buffered_answer_bytes"])
def test_a_clip_that_is_too_large_is_not_drawn_again(
    start_gateway: StartGateway, connect: ConnectClient, setting: str
) -> None:
    with drawing(events(CLIP_EVENTS), start_gateway, **{setting: len(CLIP)}) as (peer, gateway):
        client = connect(gateway.url)
        done = ended(client, client.videos.create(model="tiny", prompt="a").id)
        assert (done.status, done.error.code) == ("failed", "upstream_error")
        assert done.error.message.endswith(f"({setting}); ask for a shorter or smaller clip.")
        assert len(peer.requests) == 1


def test_a_job_waits_for_a_model_that_is_not_ready(start_gateway: StartGateway, connect: ConnectClient) -> None:
    tiny = {"serving": {"limits": {"retryAfterSeconds": 1}}}
    with Peer(events(CLIP_EVENTS)) as peer:
        gateway = start_gateway(tiny=tiny)
        client = connect(gateway.url)
        video = client.videos.create(model="tiny", prompt="a")
        gateway.set_endpoints(peer.endpoint)
        assert ended(client, video.id).status == "completed"


def test_a_job_does_not_wait_for_ever(start_gateway: StartGateway, connect: ConnectClient) -> None:
    tiny = {"serving": {"limits": {"retryAfterSeconds": 1}}}
    client = connect(start_gateway(tiny=tiny, video_wait_seconds=0.5).url)
    video = ended(client, client.videos.create(model="tiny", prompt="a").id)
    assert (video.status, video.error.code) == ("failed", "model_not_ready")


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    """Keys that are called like their owners."""
    path = tmp_path / "keys.json"
    owners = ("first", "second")
    entries = [{"name": owner, "sha256": hashlib.sha256(owner.encode()).hexdigest()} for owner in owners]
    path.write_text(json.dumps({"keys": entries}))
    return path


def test_jobs_belong_to_the_key_that_made_them(
    start_gateway: StartGateway, connect: ConnectClient, keys_file: Path
) -> None:
    with drawing(events(CLIP_EVENTS), start_gateway, keys_file=keys_file) as (_, gateway):
        video = connect(gateway.url, "first").videos.create(model="tiny", prompt="a")
        other = connect(gateway.url, "second")
        assert list(other.videos.list()) == []
        for call in (other.videos.retrieve, other.videos.delete, other.videos.download_content):
            with pytest.raises(openai.NotFoundError):
                call(video.id)
        assert [listed.id for listed in connect(gateway.url, "first").videos.list()] == [video.id]


def test_one_key_does_not_fill_the_queue(start_gateway: StartGateway, connect: ConnectClient, keys_file: Path) -> None:
    with drawing(hold(threading.Event()), start_gateway, keys_file=keys_file, max_video_jobs=8) as (_, gateway):
        first, second = (connect(gateway.url, key) for key in ("first", "second"))
        made = [first.videos.create(model="tiny", prompt="a").id for _ in range(2)]
        with pytest.raises(openai.RateLimitError, match="2 video jobs of this API key are waiting or at work"):
            first.videos.create(model="tiny", prompt="a")
        assert second.videos.create(model="tiny", prompt="a").id
        first.videos.delete(made[0])
        assert first.videos.create(model="tiny", prompt="a").id


def test_keys_take_turns(start_gateway: StartGateway, connect: ConnectClient, keys_file: Path) -> None:
    """One job runs at a time, and who comes later does not wait for all that came before."""
    first_is_here, all_are_here = threading.Event(), threading.Event()

    def draw_in_turn(connection: socket.socket) -> None:
        first_is_here.set()
        assert all_are_here.wait(30)
        events(CLIP_EVENTS)(connection)

    settings = {"keys_file": keys_file, "max_running_video_jobs": 1}
    with drawing(draw_in_turn, start_gateway, **settings) as (peer, gateway):
        first, second = (connect(gateway.url, key) for key in ("first", "second"))
        jobs = [first.videos.create(model="tiny", prompt=f"first {number}").id for number in range(3)]
        assert first_is_here.wait(30)
        last = second.videos.create(model="tiny", prompt="second").id
        assert second.videos.retrieve(last).status == "queued"
        assert len(peer.requests) == 1
        all_are_here.set()
        for job in jobs:
            assert ended(first, job).status == "completed"
        assert ended(second, last).status == "completed"
    assert [json.loads(received.body)["prompt"] for received in peer.requests] == [
        "first 0", "second", "first 1", "first 2",
    ]  # fmt: skip


def test_a_model_that_is_not_ready_leaves_others_room(start_gateway: StartGateway, connect: ConnectClient) -> None:
    limits = {"serving": {"limits": {"retryAfterSeconds": 1}}}
    with drawing(events(CLIP_EVENTS), start_gateway, max_running_video_jobs=1) as (peer, gateway):
        gateway.routes.set_model(image_model("cold", **limits), created=1_700_000_000)
        client = connect(gateway.url)
        waiting = [client.videos.create(model="cold", prompt="a").id for _ in range(3)]
        assert ended(client, client.videos.create(model="tiny", prompt="b").id).status == "completed"
        assert {client.videos.retrieve(job).status for job in waiting} <= {"queued", "in_progress"}
        gateway.routes.set_endpoints("default", child_name("cold"), [peer.endpoint])
        for job in waiting:
            assert ended(client, job).status == "completed"


def test_jobs_are_bounded(start_gateway: StartGateway, connect: ConnectClient) -> None:
    left = threading.Event()
    with drawing(hold(left), start_gateway, max_video_jobs=1) as (_, gateway):
        client = connect(gateway.url)
        client.videos.create(model="tiny", prompt="a")
        with pytest.raises(openai.RateLimitError) as caught:
            client.videos.create(model="tiny", prompt="b")
        assert caught.value.response.headers["retry-after"] == "30"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": "a", "n": 2}, "n"),
        ({"prompt": ["a", "b"]}, "n"),
        ({"prompt": "a", "model": "other"}, "model"),
        ({"prompt": "a", "seconds": "long"}, "seconds"),
        ({"prompt": "a", "input_reference": "x"}, "input_reference"),
    ],
)
def test_what_no_job_can_be_made_of_is_refused(start_gateway: StartGateway, body: dict[str, Any], param: str) -> None:
    response = start_gateway().client.post("/v1/videos", json=body)
    assert response.status_code == (404 if param == "model" else 400)
    assert response.json()["error"]["param"] == param


def test_only_the_clip_is_kept(start_gateway: StartGateway) -> None:
    response = start_gateway().client.get("/v1/videos/video_1/content?variant=thumbnail")
    assert (response.status_code, response.json()["error"]["param"]) == (400, "variant")
