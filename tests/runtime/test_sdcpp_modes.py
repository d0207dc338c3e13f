"""From what stable-diffusion.cpp draws, by what its models were trained for; those that need a picture get it."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from heliograph_api.spec import parse_spec
from heliograph_runtime.engines.protocol import Batch, Capabilities, LoadError, Sampling
from heliograph_runtime.engines.sdcpp.capabilities import read_capabilities
from heliograph_runtime.engines.sdcpp.checking import check_model
from heliograph_runtime.engines.sdcpp.generate import Loaded, orders
from heliograph_runtime.engines.sdcpp.options import read_options
from pictures import draw as draw_true
from runtime import miniature_sdcpp, miniature_sdcpp_unets
from runtime.conftest import StartRuntime
from runtime.picture_files import b64
from runtime.runtimes import Runtime, difference
from runtime.sdcpp_files import Shapes, write_gguf

SIZE = 64
CIRCLE, STAR = (draw_true(colour, shape, "white", size=SIZE) for colour, shape in (("red", "circle"), ("blue", "star")))
SPECS: dict[str, dict[str, Any]] = {
    "FLUX.1 Depth": {
        "parameters": {"model": "depth.gguf"},
        "options": ["clip_l_path:clip_l.safetensors", "taesd_path:taef1.safetensors"],
    },
    "InstructPix2Pix": {
        "backend": "sdcpp",
        "parameters": {"model": "pix2pix.safetensors"},
        "options": ["taesd_path:taesd.safetensors"],
    },
}
PARTS: Shapes = {
    "model.layers.0.self_attn.q_proj.weight": (64, 64),
    "encoder.block.0.layer.0.SelfAttention.q.weight": (64, 64),
    "decoder.conv_in.weight": (64, 16, 3, 3),
    "vision_model.embeddings.class_embedding": (64,),
}
FLUX: Shapes = {"double_blocks.0.img_attn.qkv.weight": (64, 64), "img_in.weight": (64, 64)}
FLUX_2: Shapes = {"double_stream_modulation_img.lin.weight": (64, 64)}
QWEN: Shapes = {"transformer_blocks.0.img_mod.1.weight": (64, 64)}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("followers")
    miniature_sdcpp.save_flux(folder)
    miniature_sdcpp.save_flux_control(folder / "depth.gguf")
    miniature_sdcpp_unets.save_sd1_pix2pix(folder / "pix2pix.safetensors")
    miniature_sdcpp.save_taesd(folder / "taesd.safetensors", miniature_sdcpp.SD_LATENT_CHANNELS)
    return folder


@pytest.fixture(scope="module", params=SPECS)
def follower(models: Path, start_runtime: StartRuntime, request: pytest.FixtureRequest) -> Runtime:
    return start_runtime({**SPECS[request.param], "step": 2}, base={}, models_dir=models)


def test_the_picture_that_a_model_reads_shows(follower: Runtime) -> None:
    circle, star = (changed(follower, picture) for picture in (CIRCLE, STAR))

    assert difference(circle, star) > 0
    assert difference(changed(follower, CIRCLE), circle) == 0
    # It is read and not begun with, so there is no strength to it.
    assert difference(changed(follower, CIRCLE, strength=0.5), circle) == 0


def test_a_model_that_reads_a_picture_draws_nothing_without_one(follower: Runtime) -> None:
    response = follower.post(prompt="a red circle")

    assert response.status_code == 400
    assert response.json()["error"]["message"] == "image: is required: this model draws from a picture."
    masked = follower.post(prompt="a", image=b64(CIRCLE), mask=b64(Image.new("L", CIRCLE.size, 255)))
    assert (masked.status_code, masked.json()["error"]["param"]) == (400, "mask")


@pytest.mark.parametrize(
    ("name", "shapes", "modes"),
    [
        ("flux1-dev.gguf", FLUX, ("text", "image", "inpaint", "reference")),
        ("flux1-kontext-dev.gguf", FLUX, ("text", "reference")),
        ("flux2-klein.gguf", FLUX_2, ("text", "reference", "image", "inpaint")),
        ("qwen-image-Q4_0.gguf", QWEN, ("text", "image", "inpaint", "reference")),
        ("Qwen-Image-Edit-2509.gguf", QWEN, ("text", "reference")),
        ("qwen.gguf", {**QWEN, "__index_timestep_zero__": (1,)}, ("text", "reference")),
    ],
)
def test_models_for_reference_pictures_take_those_first(
    tmp_path: Path, name: str, shapes: Shapes, modes: tuple[str, ...]
) -> None:
    write_gguf(tmp_path / name, shapes)
    write_gguf(tmp_path / "parts.gguf", PARTS)
    options = [f"{part}_path:parts.gguf" for part in ("llm", "t5xxl", "vae")]

    assert tuple(capabilities(tmp_path, name, options=options).modes) == modes


def wan(layers: int = 40, width: int = 5120, channels: int = 36) -> Shapes:
    names = {f"blocks.{index}.cross_attn.norm_k.weight": (8,) for index in range(layers)}
    return {"patch_embedding.weight": (width, channels, 1, 2, 2), **names}


IMG_EMB: Shapes = {"img_emb.proj.0.weight": (1280,)}


@pytest.mark.parametrize(
    ("shapes", "modes", "fps", "multiple", "last_image"),
    [
        (wan(30, 1536, 16), ("text",), 16, 16, False),
        ({**wan(), **IMG_EMB}, ("image",), 16, 16, False),
        ({**wan(), **IMG_EMB, "img_emb.emb_pos": (1, 514, 1280)}, ("image",), 16, 16, True),
        (wan(), ("image",), 16, 16, True),
        (wan(30, 3072, 48), ("text", "image"), 24, 32, False),
    ],
    ids=["T2V", "I2V", "FLF2V", "2.2 I2V", "2.2 TI2V"],
)
def test_models_for_clips_say_what_they_film(
    tmp_path: Path, shapes: Shapes, modes: tuple[str, ...], fps: int, multiple: int, *, last_image: bool
) -> None:
    found = filmed(tmp_path, shapes)

    assert tuple(found.modes) == modes
    assert {mode.strength for mode in found.modes.values()} == {None}
    assert found.video
    assert (found.video.frames, found.video.frames_multiple, found.video.fps) == (33, 4, fps)
    assert (found.size_multiple, found.video.last_image, found.previews) == (multiple, last_image, False)


@pytest.mark.parametrize(
    ("shapes", "options", "says"),
    [
        (FLUX, ["high_noise_diffusion_model_path:wan.gguf"], "high_noise_diffusion_model_path: FLUX.1-schnell draws p"),
        (FLUX, ["clip_vision_path:parts.gguf"], "clip_vision_path: FLUX.1-schnell draws pictures"),
        (wan(), ["high_noise_diffusion_model_path:wan.gguf"], "high_noise_diffusion_model_path: the file holds no "),
        (wan(), ["high_noise_diffusion_model_path:parts.gguf"], "high_noise_diffusion_model_path: the file holds "),
    ],
)
def test_files_that_a_model_has_no_use_for_are_refused(
    tmp_path: Path, shapes: Shapes, options: list[str], says: str
) -> None:
    write_gguf(tmp_path / "wan.gguf", wan(30, 1536, 16))

    with pytest.raises(LoadError) as caught:
        filmed(tmp_path, shapes, *options)

    assert caught.value.message.startswith(f"options: {says}")


@pytest.mark.parametrize(
    ("steps", "shift", "taken"), [(1, 5.0, 0), (2, 5.0, 1), (20, 5.0, 9), (20, 3.0, 7), (2, 12.0, 1), (40, 12.0, 26)]
)
def test_the_model_for_high_noise_leaves_a_step_to_the_other(
    tmp_path: Path, steps: int, shift: float, taken: int
) -> None:
    options = read_options([f"flow_shift:{shift}"], models_dir=tmp_path)
    loaded = Loaded(
        options,
        3.5,
        distilled=False,
        high_noise=0.875,
        image_scale=None,
        follows=None,
        clip_layers=None,
        latent_pixels=8,
    )

    (order,) = orders(loaded, Batch(Sampling("text", 64, 64, steps=steps, frames=5), ("a",), None, (1,)))

    assert order.high_noise_steps == taken


def filmed(folder: Path, shapes: Shapes, *options: str) -> Capabilities:
    write_gguf(folder / "model.gguf", shapes)
    write_gguf(folder / "parts.gguf", PARTS)
    parts = [f"{part}_path:parts.gguf" for part in ("t5xxl", "vae")]
    return capabilities(folder, "model.gguf", options=[*parts, *options])


def capabilities(models: Path, name: str, **spec: Any) -> Capabilities:
    checked = check_model(parse_spec({"backend": "sdcpp", "parameters": {"model": name}, **spec}), models_dir=models)
    return read_capabilities(checked, max_pixels=None)


def changed(runtime: Runtime, picture: Image.Image, **fields: Any) -> Image.Image:
    return runtime.edit("a red circle", image=b64(picture), size=f"{SIZE}x{SIZE}", seed=1, **fields)
