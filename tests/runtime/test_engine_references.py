"""Models that draw from pictures which the prompt refers to, and models that make a picture larger."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from heliograph_runtime.engines.diffusers.engine import DiffusersEngine
from heliograph_runtime.engines.protocol import Batch, Capabilities, Inputs, Picture
from runtime import miniatures
from runtime.engines import difference, draw, load_folder, make_sampling, patches, pixels

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # diffusers 0.42 and numpy 2.4
    pytest.mark.filterwarnings("ignore:.?FluxPosEmbed.? is deprecated:FutureWarning"),  # diffusers' own use of it
]

Save = Callable[[Path], None]


def refer(engine: DiffusersEngine, found: Capabilities, *seeds: int, width: int = 64, height: int = 64) -> Picture:
    """Return what is drawn from references that are made from seeds."""
    sampling = replace(make_sampling(found, "reference", steps=2), width=width, height=height)
    inputs = Inputs(tuple(patches(seed, 80, 64) for seed in seeds))
    return draw(engine, Batch(sampling, ("a cat in the first picture",), None, (1,), inputs))[0]


@pytest.mark.parametrize(
    ("save", "pipeline_type"),
    [(miniatures.save_flux2, "Flux2Pipeline"), (miniatures.save_flux2_klein, "flux2kleinpipeline")],
)
def test_each_of_several_references_shows_in_its_place(tmp_path: Path, save: Save, pipeline_type: str) -> None:
    save(tmp_path / "model")
    engine, found = load_folder(tmp_path / "model", diffusers={"pipeline_type": pipeline_type})
    both = refer(engine, found, 1, 2)

    for seeds in ((3, 2), (1, 3), (2, 1), (1,)):
        assert difference(refer(engine, found, *seeds), both) > 0


def test_kontext_draws_the_size_that_was_asked_for(tmp_path: Path) -> None:
    miniatures.save_flux_kontext(tmp_path / "model")
    engine, found = load_folder(
        tmp_path / "model", diffusers={"pipeline_type": "FluxKontextPipeline"}, options=["_auto_resize:false"]
    )
    picture = refer(engine, found, 1, width=96, height=48)

    assert found.modes["reference"].max_images == 1
    assert found.modes["reference"].pipeline == "FluxKontextPipeline"
    assert (picture.width, picture.height) == (96, 48)


def test_a_reference_may_be_small_or_long(tmp_path: Path) -> None:
    miniatures.save_flux2(tmp_path / "model")
    engine, found = load_folder(tmp_path / "model")
    batch = Batch(make_sampling(found, "reference", steps=2), ("a cat",), None, (1,))

    for width, height in ((16, 40), (900, 70), (3, 300)):
        reference = Inputs((patches(1, width, height),))
        assert draw(engine, replace(batch, inputs=reference))[0].width == 64


def test_localais_gallery_entry_for_qwen_image_edit_plus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus")
    calculate = module.calculate_dimensions
    monkeypatch.setattr(module, "calculate_dimensions", lambda area, ratio: calculate(area // 64, ratio))
    miniatures.save_qwen_image_edit_plus(tmp_path / "model")
    engine, found = load_folder(
        tmp_path / "model",
        step=50,
        cfg_scale=0,
        low_vram=True,
        diffusers={"pipeline_type": "QwenImageEditPipeline", "enable_parameters": "num_inference_steps,image"},
        options=["true_cfg_scale:4.0", "torch_dtype:fp32"],
    )

    assert found.modes["reference"].pipeline == "QwenImageEditPlusPipeline"
    assert (found.guidance_scale, found.true_cfg_scale) == (None, 4.0)
    assert difference(refer(engine, found, 1, 2), refer(engine, found, 3, 2)) > 1


def test_a_true_scale_guides_without_a_negative_prompt_too(tmp_path: Path) -> None:
    miniatures.save_qwen_image(tmp_path / "model")
    engine, found = load_folder(tmp_path / "model")
    batch = Batch(make_sampling(found, "text", steps=2), ("a cat",), None, (1,))
    free, spaced = (draw(engine, replace(batch, negative_prompts=negative))[0] for negative in (None, (" ",)))
    unguided = draw(engine, replace(batch, sampling=replace(batch.sampling, true_cfg_scale=1.0)))[0]

    assert difference(free, spaced) == 0
    assert difference(free, unguided) > 1


@pytest.mark.parametrize(("save", "own"), [(miniatures.save_upscale, 4), (miniatures.save_latent_upscale, 2)])
def test_a_picture_is_made_larger_by_the_factor_asked_for(tmp_path: Path, save: Save, own: int) -> None:
    save(tmp_path / "model")
    engine, found = load_folder(tmp_path / "model")
    sampling = make_sampling(found, "upscale", steps=2)
    batch = Batch(sampling, ("",), None, (1,), Inputs((patches(1, 21, 13),)))
    drawn = {
        factor: draw(engine, replace(batch, sampling=replace(sampling, upscale=factor)))[0] for factor in (None, 2, 4)
    }

    assert {factor: (picture.width, picture.height) for factor, picture in drawn.items()} == {
        None: (21 * own, 13 * own),
        2: (42, 26),
        4: (84, 52),
    }
    assert found.modes["upscale"].sized is False
    assert difference(drawn[None], drawn[own]) == 0
    assert np.ptp(pixels(drawn[own])) > 1
