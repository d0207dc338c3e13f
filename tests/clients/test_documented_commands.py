"""Every command of the source systems' documentation draws what is documented, as a shell sends it."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from clients.documented import (
    GPUSTACK_ADVANCED,
    GPUSTACK_CREATE,
    GPUSTACK_EDIT,
    GPUSTACK_EDIT_FIELDS,
    LOCALAI,
    SD_API_SERVER,
    Command,
)
from clients.images import opened
from clients.shell import Shell, chunks_of
from clients.stack import Stack
from gateway.peers import Peer
from runtime.picture_files import as_file, noise

NOISE = noise()


@pytest.fixture
def shell(stack: Stack, picture_host: Peer, tmp_path: Path) -> Shell:
    """A shell in a folder with the files that the commands name; they are large enough for base64 of many lines."""
    for name in ("input.png", "otter.png", "mask.png", "control_2.png", "path/control_image.png", "path/to/image.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(as_file(NOISE))
    (tmp_path / "path/to/image.jpeg").write_bytes(as_file(NOISE, "JPEG"))
    (tmp_path / "path/to/your").mkdir()
    (tmp_path / "path/to/your/image").write_bytes(as_file(NOISE))
    return Shell(stack, picture_host.endpoint.url, tmp_path)


@pytest.mark.parametrize("command", LOCALAI, ids=lambda command: command.title)
def test_localai(shell: Shell, command: Command) -> None:
    (entry,) = json.loads(shell.run(command.text))["data"]
    picture = shell.stack.download(entry["url"])
    assert picture.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(picture.content)).size == command.size


@pytest.mark.parametrize("command", SD_API_SERVER, ids=lambda command: command.title)
def test_sd_api_server(shell: Shell, command: Command) -> None:
    answer = json.loads(shell.run(command.text, errors=command.errors))
    assert answer["created"] > 0
    (entry,) = answer["data"]
    # Without the tag of a LoRA, and without quotes that the shell had no use for.
    assert entry["prompt"] in command.text.replace("'\\''", "'")
    assert not entry["prompt"].endswith(":1>")
    assert Image.open(io.BytesIO(shell.stack.download(entry["url"]).content)).size == command.size


def test_the_lora_of_sd_api_servers_example_counts(shell: Shell) -> None:
    (example,) = [command.text for command in SD_API_SERVER if "<lora:" in command.text]
    seeded = example.replace('"steps": 20', '"steps": 4, "seed": 7')
    without = seeded.replace(":1>", ":0>")
    drawn = [json.loads(shell.run(text))["data"][0]["b64_json"] for text in (seeded, without)]
    assert drawn[0] != drawn[1]


def test_gpustack_edit(shell: Shell) -> None:
    (entry,) = json.loads(shell.run(GPUSTACK_EDIT.text))["data"]
    assert opened(entry["b64_json"]).size == GPUSTACK_EDIT.size


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(GPUSTACK_CREATE, id="create"),
        pytest.param(GPUSTACK_ADVANCED, id="create with advanced options"),
        pytest.param(GPUSTACK_EDIT_FIELDS, id="edit with advanced options"),
    ],
)
def test_gpustack_streams(shell: Shell, command: str) -> None:
    *chunks, last = chunks_of(shell.run(command))
    for chunk in chunks:
        (entry,) = chunk["data"]
        assert (entry["index"], entry["object"]) == (0, "image.chunk")
        assert "b64_json" not in entry
    progress = [chunk["data"][0]["progress"] for chunk in chunks]
    assert progress == sorted(progress)
    assert 0 < progress[0] < progress[-1] < 100
    (entry,) = last["data"]
    assert (entry["progress"], entry["finish_reason"]) == (100, "stop")
    assert opened(entry["b64_json"]).size == (512, 512)
    assert {"generation_per_second", "time_per_generation_ms", "time_to_process_ms"} <= set(last["usage"])


def test_gpustack_refuses_an_illegal_picture(shell: Shell) -> None:
    (shell.folder / "otter.png").write_text("no picture")
    error = json.loads(shell.run(GPUSTACK_EDIT_FIELDS))["error"]
    assert "Invalid image" in error["message"]
    assert error["type"] == "invalid_request_error"
