"""Every documented command that is for GGUF models draws what is documented, over stable-diffusion.cpp.

The miniatures draw no things, so that pictures are told apart and not recognised. The commands are sent as they are
printed, but for two things that would take long on two slow CPUs. Of the pictures of 512x512 pixels one is drawn for
each source, and the others with 128x128. Those with a control image are drawn in one step with 64x64: Stable
Diffusion 1, which has one size in the library, would take half an hour for what they ask.
"""

import io
import json
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image, ImageChops

from clients.documented import (
    ESRGAN,
    GPUSTACK_ADVANCED,
    GPUSTACK_CREATE,
    GPUSTACK_EDIT,
    GPUSTACK_EDIT_FIELDS,
    KONTEXT,
    LOCALAI,
    SD_API_SERVER,
    Command,
)
from clients.documented_models import (
    LOCALAI_CUSTOM,
    LOCALAI_FLUX,
    LOCALAI_KONTEXT,
    SMALL,
    Spec,
    gpustack,
    localai,
    sd_api_server,
    sd_api_server_control,
)
from clients.images import opened
from clients.shell import Shell, chunks_of
from clients.stack import Stack, serving
from gateway.peers import Peer
from heliograph_api.spec import parse_spec
from heliograph_runtime.engines import make_engine
from heliograph_runtime.engines.sdcpp.checking import check_model
from heliograph_runtime.engines.sdcpp.engine import SdcppEngine
from pictures import draw
from runtime.picture_files import as_file, noise
from runtime.runtimes import difference
from runtime.sdcpp_files import Shapes, write_gguf, write_safetensors
from runtime.sdcpp_shapes import CLIP_L, FLUX_VAE, T5, T5_GGUF, VAE, VAE_16, P, clip, flux, prefixed, sd3, unet

CIRCLE = draw("red", "circle", "white", size=64)
FIGURE = noise()
SD1_COMMANDS = [command for command in SD_API_SERVER if "control_image=" in command.text]
FLUX_COMMANDS = [command for command in SD_API_SERVER if command not in SD1_COMMANDS]
SOURCES: Mapping[str, Callable[[Path], dict[str, Spec]]] = {
    "localai": localai,
    "sd-api-server": sd_api_server,
    "sd-api-server with a control net": sd_api_server_control,
    "gpustack": gpustack,
}


def small(text: str) -> str:
    """Return a command with smaller sides in place of 512 pixels."""
    return text.replace("512x512", f"{SMALL}x{SMALL}").replace("=512", f"={SMALL}")


@pytest.fixture(scope="module")
def source_stack(
    request: pytest.FixtureRequest, picture_host: Peer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """The models that one source's commands are for."""
    folder = tmp_path_factory.mktemp("gguf")
    specs = SOURCES[request.param](folder)
    settings = {
        "default_model": next(iter(specs)),
        "image_url_private_hosts": picture_host.endpoint.url.removeprefix("http://"),
        "data_dir": str(folder / "data"),
    }
    with serving(folder, specs, **settings) as stack:
        yield stack


def source(name: str) -> pytest.MarkDecorator:
    """Return the mark of a test that runs against the models of one source."""
    assert name in SOURCES
    return pytest.mark.parametrize("source_stack", [name], indirect=True)


@pytest.fixture
def shell(source_stack: Stack, picture_host: Peer, tmp_path: Path) -> Shell:
    """A shell in a folder with the files that the commands name."""
    for name in ("input.png", "otter.png", "control_2.png", "path/control_image.png", "path/to/image.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(as_file(FIGURE))
    mask = Image.new("L", FIGURE.size)
    mask.paste(255, (0, 0, FIGURE.width // 2, FIGURE.height))
    (tmp_path / "mask.png").write_bytes(as_file(mask))
    return Shell(source_stack, picture_host.endpoint.url, tmp_path)


def drawn(shell: Shell, text: str, **expected: str) -> Image.Image:
    """Return the picture that a command's answer has or links to, which must not be flat."""
    (entry,) = json.loads(shell.run(text, **expected))["data"]
    file = b64decode(entry["b64_json"]) if "b64_json" in entry else shell.stack.download(entry["url"]).content
    picture = Image.open(io.BytesIO(file))
    assert (picture.format, picture.mode) == ("PNG", "RGB")
    assert np.asarray(picture).std() > 10
    return picture


# --- LocalAI


@source("localai")
@pytest.mark.parametrize("command", LOCALAI[:3], ids=lambda command: command.title)
def test_localai(shell: Shell, command: Command) -> None:
    assert drawn(shell, command.text).size == command.size


@source("localai")
def test_a_negative_prompt_after_a_bar_counts(shell: Shell) -> None:
    (text,) = [command.text for command in LOCALAI if command.title == "negative prompt"]
    seeded = text.replace('"size"', '"step": 2, "seed": 5, "size"').replace("256x256", "64x64")
    picture = drawn(shell, seeded)
    assert difference(drawn(shell, seeded), picture) == 0
    assert difference(drawn(shell, seeded.replace("|((part of the head))", "|green")), picture) > 0


@source("localai")
def test_the_command_for_kontext_sees_the_picture_from_the_network(shell: Shell, picture_host: Peer) -> None:
    seeded = KONTEXT.text.replace('"size"', '"seed": 5, "size"')
    picture = drawn(shell, seeded)
    assert picture.size == KONTEXT.size
    assert picture_host.requests[-1].line.startswith("GET /leejet/stable-diffusion.cpp/master/assets/flux/")
    assert difference(drawn(shell, seeded.replace("ref_images", "ignored")), picture) > 0


@source("localai")
def test_the_command_for_esrgan_enlarges_with_its_model(shell: Shell) -> None:
    (shell.folder / "input.png").write_bytes(as_file(CIRCLE))
    picture = drawn(shell, ESRGAN.text)
    assert picture.size == ESRGAN.size
    # The miniature turns colours round.
    small, expected = (
        np.asarray(image, int) for image in (picture.resize(CIRCLE.size), ImageChops.invert(CIRCLE.convert("RGB")))
    )
    assert np.abs(small - expected).mean() < 10


SD35 = {**prefixed(P, sd3(24, twice=True)), **VAE_16}
SD15 = {
    **prefixed(P, unet()),
    **{f"{P}output_blocks.{index}.1.norm.weight": (640,) for index in range(8)},
    **CLIP_L,
    **VAE,
}


@pytest.mark.parametrize(
    ("text", "file", "shapes", "family"),
    [
        pytest.param(LOCALAI_CUSTOM, "gguf_model.gguf", SD35, "sd3.5-medium", id="custom model"),
        pytest.param(LOCALAI_CUSTOM, "gguf_model.gguf", SD15, "sd1", id="custom model of Stable Diffusion 1"),
        pytest.param(LOCALAI_FLUX, "flux1-dev-Q2_K.gguf", flux(), "flux-dev", id="flux.1-dev-ggml"),
        pytest.param(LOCALAI_KONTEXT, "flux1-kontext-dev-Q8_0.gguf", flux(), "flux-dev", id="flux.1-kontext-dev"),
    ],
)
def test_localais_model_files_are_taken_as_they_are(
    tmp_path: Path, text: str, file: str, shapes: Shapes, family: str
) -> None:
    write_gguf(tmp_path / file, shapes)
    write_gguf(tmp_path / "t5xxl-Q5_0.gguf", T5_GGUF)
    parts = {"t5xxl_fp16": T5, "ae": FLUX_VAE, "clip_l": clip(768), "clip_g": clip(1280)}
    for name, tensors in parts.items():
        write_safetensors(tmp_path / f"{name}.safetensors", tensors)
    spec = parse_spec(yaml.safe_load(text))

    assert isinstance(make_engine(spec), SdcppEngine)
    checked = check_model(spec, models_dir=tmp_path)
    named = [option.partition(":")[2] for option in spec.options or () if "_path:" in option]
    assert {found.path.name for found in checked.files.values()} == {file, *named}
    assert checked.family.name == family


# --- sd-api-server


@source("sd-api-server")
@pytest.mark.parametrize("command", FLUX_COMMANDS, ids=lambda command: command.title)
def test_sd_api_server(shell: Shell, command: Command) -> None:
    picture = drawn(shell, small(command.text), errors=command.errors)
    assert picture.size == (SMALL, SMALL)


@source("sd-api-server")
def test_sd_api_server_at_full_size(shell: Shell) -> None:
    (command,) = [command for command in FLUX_COMMANDS if command.title == "ENDPOINTS: text to image"]
    assert drawn(shell, command.text).size == command.size


@source("sd-api-server")
def test_sd_api_servers_seed_and_fields_count(shell: Shell) -> None:
    (text,) = [command.text for command in FLUX_COMMANDS if command.title == "ENDPOINTS: text to image"]
    few = text.replace('"steps": 20', '"steps": 2').replace("512x512", "64x64")
    picture = drawn(shell, few)
    assert difference(drawn(shell, few), picture) == 0
    for said, other in (
        ('"seed": 42', '"seed": 43'),
        ("7.0", "1.5"),
        ("No people", "Many people"),
        ("euler_a", "heun"),
    ):
        assert difference(drawn(shell, few.replace(said, other)), picture) > 0, said


@source("sd-api-server")
def test_sd_api_servers_edit_changes_the_picture_that_it_is_given(shell: Shell) -> None:
    (command,) = [command for command in FLUX_COMMANDS if command.title.startswith("ENDPOINTS: edit")]
    few = small(command.text).replace('steps="20"', 'steps="4"')
    pictures = [drawn(shell, few, errors=command.errors)]
    (shell.folder / "path/to/image.png").write_bytes(as_file(CIRCLE))
    pictures.append(drawn(shell, few, errors=command.errors))
    assert [picture.size for picture in pictures] == [(SMALL, SMALL)] * 2
    assert difference(*pictures) > 0


@source("sd-api-server")
def test_the_lora_of_sd_api_servers_example_counts(shell: Shell) -> None:
    (text,) = [command.text for command in FLUX_COMMANDS if "<lora:" in command.text]
    few = text.replace('"steps": 20', '"steps": 2')
    assert difference(drawn(shell, few), drawn(shell, few.replace(":1>", ":0>"))) > 0


@source("sd-api-server with a control net")
@pytest.mark.parametrize("command", SD1_COMMANDS, ids=lambda command: command.title)
def test_sd_api_servers_control_image(shell: Shell, command: Command) -> None:
    assert drawn(shell, one_small_step(command)).size == (64, 64)


@source("sd-api-server with a control net")
def test_sd_api_servers_control_image_counts(shell: Shell) -> None:
    text = one_small_step(SD1_COMMANDS[0])
    picture = drawn(shell, text)
    assert difference(drawn(shell, text), picture) == 0
    (shell.folder / "path/control_image.png").write_bytes(as_file(CIRCLE))
    assert difference(drawn(shell, text), picture) > 0


def one_small_step(command: Command) -> str:
    """Return a command of 20 steps that asks for one of 64x64 pixels."""
    text = command.text.replace("--form 'size=\"512x512\"' \\\n", "")
    return text.replace("'steps=\"20\"'", "'steps=\"1\"' --form 'size=\"64x64\"'")


# --- GPUStack


@source("gpustack")
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(GPUSTACK_CREATE, id="create"),
        pytest.param(small(GPUSTACK_ADVANCED), id="create with advanced options"),
        pytest.param(small(GPUSTACK_EDIT_FIELDS), id="edit with advanced options"),
    ],
)
def test_gpustack_streams(shell: Shell, command: str) -> None:
    *chunks, last = chunks_of(shell.run(command))
    progress = [chunk["data"][0]["progress"] for chunk in chunks]
    assert progress == sorted(progress)
    assert 0 < progress[0] < progress[-1] < 100
    (entry,) = last["data"]
    assert (entry["object"], entry["progress"], entry["finish_reason"]) == ("image.chunk", 100, "stop")
    picture = opened(entry["b64_json"])
    assert picture.size == ((512, 512) if command is GPUSTACK_CREATE else (SMALL, SMALL))
    assert np.asarray(picture).std() > 10
    assert {"generation_per_second", "time_per_generation_ms", "time_to_process_ms"} <= set(last["usage"])


@source("gpustack")
def test_gpustack_edit_draws_under_the_mask_alone(shell: Shell) -> None:
    picture = drawn(shell, small(GPUSTACK_EDIT.text))
    assert picture.size == (SMALL, SMALL)
    left, right = (changes(picture.crop(half), FIGURE.resize(picture.size).crop(half)) for half in halves(picture))
    assert left > 10 * right


@source("gpustack")
def test_gpustack_refuses_an_illegal_picture(shell: Shell) -> None:
    (shell.folder / "otter.png").write_text("no picture")
    error = json.loads(shell.run(GPUSTACK_EDIT_FIELDS))["error"]
    assert "Invalid image" in error["message"]
    assert error["type"] == "invalid_request_error"


def halves(picture: Image.Image) -> list[tuple[int, int, int, int]]:
    """Return the left and the right half of a picture, a margin in the middle left out."""
    width, height = picture.size
    return [(0, 0, width // 2 - 16, height), (width // 2 + 16, 0, width, height)]


def changes(first: Image.Image, second: Image.Image) -> float:
    """Return the mean difference of two pictures."""
    one, other = (np.asarray(image.convert("RGB"), dtype=int) for image in (first, second))
    return float(np.abs(one - other).mean())
