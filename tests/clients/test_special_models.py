"""Models that draw from several pictures, and models that draw clips: documented commands and OpenAI's clients."""

import base64
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from clients.documented import IMG2VID, KONTEXT, TXT2VID
from clients.driven import SDK, Client, ClientError, bytes_of, stream_of
from clients.images import opened
from clients.shell import Shell
from clients.stack import Stack, serving
from gateway.peers import Peer
from pictures import draw
from runtime.miniatures import save_flux2_klein, save_stable_video, save_text_to_video
from runtime.picture_files import as_file

PATIENCE = 120.0


@pytest.fixture(scope="module")
def special(picture_host: Peer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of such models, under the names that LocalAI's documentation uses."""
    models = tmp_path_factory.mktemp("special")
    save_flux2_klein(models / "edits")
    save_stable_video(models / "img2vid")
    save_text_to_video(models / "txt2vid")
    pipelines = {"img2vid": "StableVideoDiffusionPipeline", "txt2vid": "VideoDiffusionPipeline"}
    clips = {
        name: {
            "parameters": {"model": name},
            "step": 1,
            "options": ["num_frames:3"],
            "diffusers": {"pipeline_type": pipeline},
        }
        for name, pipeline in pipelines.items()
    }
    editing = {"parameters": {"model": "edits"}, "diffusers": {"pipeline_type": "Flux2KleinPipeline"}}
    settings = {
        "image_url_private_hosts": picture_host.endpoint.url.removeprefix("http://"),
        "data_dir": str(models / "data"),
    }
    with serving(models, {"flux.1-kontext-dev": editing, **clips}, **settings) as stack:
        yield stack


@pytest.fixture
def shell(special: Stack, picture_host: Peer, tmp_path: Path) -> Shell:
    return Shell(special, picture_host.endpoint.url, tmp_path)


@pytest.fixture
def client(sdk: SDK, special: Stack) -> Client:
    return sdk.at(f"{special.url}/v1")


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Files of two pictures."""
    files = [tmp_path / "one.png", tmp_path / "two.png"]
    for file, colour in zip(files, ("red", "blue"), strict=True):
        file.write_bytes(as_file(draw(colour, "circle", "white", size=64)))
    return files


def clip_size(file: bytes) -> tuple[int, int]:
    """Return the size of an MP4 clip, which must have several frames."""
    with av.open(io.BytesIO(file), "r") as container:
        stream = container.streams.video[0]
        assert len(list(container.decode(stream))) > 1
        return stream.width, stream.height


def test_the_command_for_kontext_edits_a_picture_from_the_network(shell: Shell, picture_host: Peer) -> None:
    (entry,) = json.loads(shell.run(KONTEXT.text))["data"]
    picture = shell.stack.download(entry["url"])
    assert Image.open(io.BytesIO(picture.content)).size == KONTEXT.size
    # The shell eats the quotes inside the quotes.
    assert entry["prompt"] == "change flux.cpp to LocalAI"
    assert picture_host.requests[-1].line.startswith("GET /leejet/stable-diffusion.cpp/master/assets/flux/")


@pytest.mark.parametrize("command", [pytest.param(IMG2VID, id="img2vid"), pytest.param(TXT2VID, id="txt2vid")])
def test_the_commands_for_clips(shell: Shell, picture_host: Peer, command: str) -> None:
    (entry,) = json.loads(shell.run(command))["data"]
    clip = shell.stack.download(entry["url"])
    assert clip.url.path.endswith(".mp4")
    assert clip.headers["content-type"] == entry["mime_type"] == "video/mp4"
    assert clip_size(clip.content) == (512, 512)
    if command is IMG2VID:
        assert picture_host.requests[-1].line.startswith("GET /datasets/huggingface/")
        assert "rocket.png?download=true " in picture_host.requests[-1].line


def test_an_edit_of_several_pictures(client: Client, pictures: list[Path]) -> None:
    asked: dict[str, Any] = {
        "model": "flux.1-kontext-dev",
        "prompt": "put the first on the second",
        "size": "64x64",
        "response_format": "b64_json",
        "extra_body": {"steps": 2, "seed": 1},
    }
    one, two = pictures
    drawn = [
        client.call("images.edit", **asked, image=images)["data"][0]["b64_json"]
        for images in ([stream_of(one), stream_of(two)], [bytes_of(one), bytes_of(two)], [bytes_of(one)])
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert opened(drawn[0]).size == (64, 64)


@pytest.mark.parametrize("model", ["txt2vid", "img2vid"])
def test_clips_as_jobs(client: Client, pictures: list[Path], model: str) -> None:
    asked: dict[str, Any] = {"model": model, "prompt": "a red circle", "size": "64x64"}
    if model == "img2vid":
        asked |= {"input_reference": stream_of(pictures[0])}
    job = client.call("videos.create", **asked)
    assert (job["object"], job["model"], job["size"]) == ("video", model, "64x64")
    deadline = time.monotonic() + PATIENCE
    while job["status"] in {"queued", "in_progress"} and time.monotonic() < deadline:
        time.sleep(0.1)
        job = client.call("videos.retrieve", job["id"])
    assert (job["status"], job["progress"]) == ("completed", 100)
    assert job["id"] in [video["id"] for video in client.call("videos.list")["data"]]
    content = client.call("videos.download_content", job["id"])
    assert clip_size(base64.b64decode(content["base64"])) == (64, 64)
    assert client.call("videos.delete", job["id"]) == {"id": job["id"], "object": "video.deleted", "deleted": True}
    with pytest.raises(ClientError) as caught:
        client.call("videos.retrieve", job["id"])
    assert (caught.value.kind, caught.value.code) == ("NotFoundError", "video_not_found")
