"""Facts of the U-Nets of stable-diffusion.cpp that hold for a whole generation of Stable Diffusion, whatever its size.

They are told from the headers of files alone; what they are told of would be gigabytes.
"""

from pathlib import Path
from typing import Any

import pytest

from heliograph_api.spec import parse_spec
from heliograph_runtime.engines.protocol import LoadError
from heliograph_runtime.engines.sdcpp.capabilities import read_capabilities
from heliograph_runtime.engines.sdcpp.checking import CheckedModel, check_model
from runtime.sdcpp_files import Shapes, write_gguf
from runtime.sdcpp_shapes import CLIP_L, SD2_CLIP, XL_CLIPS, P, prefixed, unet

VAE: Shapes = {"first_stage_model.decoder.conv_in.weight": (64, 4, 3, 3)}
WAY_UP: Shapes = {f"output_blocks.{index}.0.in_layers.0.weight": (640,) for index in range(8)}
UNET, TINY_UNET = {**WAY_UP, **unet()}, {**WAY_UP, **unet(middle=False)}
MODELS: dict[str, Shapes] = {
    "Stable Diffusion 1": {**prefixed(P, UNET), **CLIP_L, **VAE},
    "Stable Diffusion 1 with a small U-Net": {**prefixed(P, TINY_UNET), **CLIP_L, **VAE},
    "SDXS": {**prefixed(P, {"input_blocks.0.0.weight": (320, 4, 3, 3)}), **CLIP_L, **VAE},
    "SDXS 0.9": {
        **prefixed(P, {**TINY_UNET, "output_blocks.7.1.transformer_blocks.0.attn1.to_k.weight": (320, 1024)}),
        **SD2_CLIP,
        **VAE,
    },
    "Stable Diffusion 2": {**prefixed(P, UNET), **SD2_CLIP, **VAE},
    "Stable Diffusion 2 with a small U-Net": {**prefixed(P, TINY_UNET), **SD2_CLIP, **VAE},
    "Stable Diffusion XL": {**prefixed(P, UNET), **XL_CLIPS, **VAE},
    "SSD-1B": {
        **prefixed(P, {**TINY_UNET, "output_blocks.3.1.transformer_blocks.1.norm1.weight": (640,)}),
        **XL_CLIPS,
        **VAE,
    },
    "Segmind Vega": {**prefixed(P, TINY_UNET), **XL_CLIPS, **VAE},
}
WITH_CONTROL_NETS = ("Stable Diffusion 1",)
# The library's own table has noise levels for these two generations, and stops at the last but one layer of CLIP in all
# but the first one.
WITHOUT_ALIGN_YOUR_STEPS = ("SDXS 0.9", "Stable Diffusion 2", "Stable Diffusion 2 with a small U-Net")
FROM_THE_LAST_LAYER = ("Stable Diffusion 1", "Stable Diffusion 1 with a small U-Net", "SDXS")


def checked(folder: Path, title: str, **spec: Any) -> CheckedModel:
    write_gguf(folder / "model.gguf", MODELS[title])
    written = {"backend": "sdcpp", "parameters": {"model": "model.gguf"}, **spec}
    found = check_model(parse_spec(written), models_dir=folder)
    assert found.family.title == title
    return found


@pytest.mark.parametrize("title", MODELS)
def test_clip_is_skipped_and_steps_are_aligned_by_generation(tmp_path: Path, title: str) -> None:
    found = read_capabilities(checked(tmp_path, title), max_pixels=None)

    assert found.max_clip_skip == (11 if title in FROM_THE_LAST_LAYER else 10)
    assert ("ays" in found.schedules) == (title not in WITHOUT_ALIGN_YOUR_STEPS)


@pytest.mark.parametrize("title", MODELS)
def test_a_control_net_is_refused_before_the_library_would_end_over_it(tmp_path: Path, title: str) -> None:
    write_gguf(tmp_path / "control.gguf", {"control_model.input_hint_block.0.weight": (16, 3, 3, 3)})
    options = ["control_net_path:control.gguf"]

    if title in WITH_CONTROL_NETS:
        assert "control_net_path" in checked(tmp_path, title, options=options).files
        return
    with pytest.raises(LoadError) as caught:
        checked(tmp_path, title, options=options)
    assert caught.value.reason == "Unsupported"
    assert caught.value.message.startswith(f"options: control_net_path: {title} can't follow a ControlNet; remove it")


@pytest.mark.parametrize(("title", "reads"), [("SSD-1B", False), ("SDXS", True), ("Stable Diffusion 2", True)])
def test_textual_inversions_are_read_by_generation(tmp_path: Path, title: str, reads: bool) -> None:
    (tmp_path / "words").mkdir()

    if reads:
        assert checked(tmp_path, title, options=["embedding_dir:words"]).inversions == ()
        return
    with pytest.raises(LoadError, match="reads no textual inversions"):
        checked(tmp_path, title, options=["embedding_dir:words"])
