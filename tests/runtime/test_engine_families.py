"""Every family of pipelines through the engine, on miniatures: what it can do, and that it does so."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from heliograph_runtime.engines.diffusers.engine import DiffusersEngine
from heliograph_runtime.engines.protocol import Batch, Capabilities, Inputs, Mode, Picture
from runtime import miniatures
from runtime.engines import difference, draw_steps, left_half, load_folder, make_sampling, patches

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # diffusers 0.42 and numpy 2.4
    pytest.mark.filterwarnings("ignore:.?FluxPosEmbed.? is deprecated:FutureWarning"),  # diffusers' own use of it
    pytest.mark.filterwarnings("ignore:In CPU autocast:UserWarning"),  # depth estimation in float32
]


@dataclass(frozen=True)
class Case:
    """What a family can do.

    Attributes:
        pipelines: Class that draws in each mode.
        alone: Modes in which a call draws one prompt.
        promptless: Modes that take no prompt.
        references: Most references.
        spec: What the model needs in its spec.
    """

    pipelines: dict[Mode, str]
    alone: tuple[Mode, ...] = ()
    promptless: tuple[Mode, ...] = ()
    references: int = 1
    spec: dict[str, Any] = field(default_factory=dict)


SD, XL, SD3, FLUX = "StableDiffusion", "StableDiffusionXL", "StableDiffusion3", "Flux"


def family(name: str, **others: Any) -> Case:
    pipelines: dict[Mode, str] = {
        "text": f"{name}Pipeline",
        "image": f"{name}Img2ImgPipeline",
        "inpaint": f"{name}InpaintPipeline",
    }
    return Case(pipelines, **others)


CASES: dict[Callable[[Path], None], Case] = {
    miniatures.save_sd: family(SD),
    miniatures.save_sd_inpaint: Case({"inpaint": f"{SD}InpaintPipeline"}),
    miniatures.save_lcm: Case(
        {"text": "LatentConsistencyModelPipeline", "image": "LatentConsistencyModelImg2ImgPipeline"}
    ),
    miniatures.save_depth: Case({"image": f"{SD}Depth2ImgPipeline"}),
    miniatures.save_upscale: Case({"upscale": f"{SD}UpscalePipeline"}, alone=("upscale",), promptless=("upscale",)),
    miniatures.save_latent_upscale: Case(
        {"upscale": f"{SD}LatentUpscalePipeline"}, alone=("upscale",), promptless=("upscale",)
    ),
    miniatures.save_sdxl: family(XL),
    miniatures.save_sdxl_refiner: Case({"image": f"{XL}Img2ImgPipeline", "inpaint": f"{XL}InpaintPipeline"}),
    miniatures.save_sd3: family(SD3),
    miniatures.save_flux: family(FLUX),
    miniatures.save_flux_schnell: family(FLUX),
    miniatures.save_flux_fill: Case({"inpaint": "FluxFillPipeline"}),
    miniatures.save_flux_kontext: Case(
        {"text": "FluxKontextPipeline", "reference": "FluxKontextPipeline", "inpaint": "FluxKontextInpaintPipeline"},
        # What is made smaller of a reference is for Kontext's own sizes of a megapixel, which take a CPU seconds.
        spec={"options": ["_auto_resize:false"]},
    ),
    miniatures.save_flux2: Case({"text": "Flux2Pipeline", "reference": "Flux2Pipeline"}, references=10),
    miniatures.save_flux2_klein: Case(
        {"text": "Flux2KleinPipeline", "reference": "Flux2KleinPipeline", "inpaint": "Flux2KleinInpaintPipeline"},
        references=10,
    ),
    miniatures.save_chroma: Case({"text": "ChromaPipeline", "image": "ChromaImg2ImgPipeline"}),
    miniatures.save_sana: Case({"text": "SanaPipeline"}),
    miniatures.save_pixart: Case({"text": "PixArtSigmaPipeline"}),
    miniatures.save_z_image: family("ZImage"),
    miniatures.save_qwen_image: family("QwenImage"),
    miniatures.save_qwen_image_edit: Case(
        {"reference": "QwenImageEditPipeline", "inpaint": "QwenImageEditInpaintPipeline"},
        alone=("reference", "inpaint"),
    ),
    miniatures.save_qwen_image_edit_plus: Case(
        {"reference": "QwenImageEditPlusPipeline"}, alone=("reference",), references=10
    ),
    miniatures.save_stable_video: Case(
        {"image": "StableVideoDiffusionPipeline"}, alone=("image",), promptless=("image",)
    ),
    miniatures.save_text_to_video: Case({"text": "TextToVideoSDPipeline"}, alone=("text",)),
    miniatures.save_wan: Case({"text": "WanPipeline"}, alone=("text",)),
    miniatures.save_wan_image: Case({"image": "WanImageToVideoPipeline"}, alone=("image",)),
    miniatures.save_wan22_image: Case({"image": "WanImageToVideoPipeline"}, alone=("image",)),
    miniatures.save_ltx: Case({"text": "LTXPipeline", "image": "LTXImageToVideoPipeline"}, alone=("text", "image")),
    miniatures.save_ltx2: Case({"text": "LTX2Pipeline", "image": "LTX2ImageToVideoPipeline"}, alone=("text", "image")),
}
MODES = [(save, mode) for save, case in CASES.items() for mode in case.pipelines]
Loaded = tuple[DiffusersEngine, Capabilities]
Load = Callable[[Callable[[Path], None]], Loaded]


def names(value: object) -> str:
    return getattr(value, "__name__", str(value)).removeprefix("save_")


@pytest.fixture(autouse=True)
def _small_megapixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Qwen-Image-Edit bring its inputs to 128x128 instead of a megapixel, which would take a CPU seconds a step."""
    for name in ("edit", "edit_inpaint", "edit_plus"):
        module = import_module(f"diffusers.pipelines.qwenimage.pipeline_qwenimage_{name}")
        calculate = module.calculate_dimensions
        monkeypatch.setattr(module, "calculate_dimensions", lambda area, ratio, of=calculate: of(area // 64, ratio))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """Loads a miniature once for all tests."""
    models_dir = tmp_path_factory.mktemp("models")

    @cache
    def load(save: Callable[[Path], None]) -> Loaded:
        folder = models_dir / names(save)
        save(folder)
        return load_folder(folder, **CASES[save].spec)

    yield load
    load.cache_clear()


def make_batch(found: Capabilities, mode: Mode, *, pictures: int, images: tuple[int, ...] = (1,)) -> Batch:
    """Return a batch with all inputs of a mode; the images are made from these seeds."""
    sampling, able = make_sampling(found, mode), found.modes[mode]
    side = 16 if mode == "upscale" else 64 if mode == "reference" else sampling.width
    inputs = None if mode == "text" else Inputs(tuple(patches(seed, side, side) for seed in images))
    if inputs and mode == "inpaint":
        inputs = replace(inputs, mask=left_half(sampling.width, sampling.height))
    prompts = tuple(["a cat", "a long brown dog"][-pictures:]) if able.prompt else ("",) * pictures
    negative_prompts = tuple(["", "red and blue"][-pictures:]) if able.negative_prompt else None
    return Batch(sampling, prompts, negative_prompts, (1, 3)[-pictures:], inputs)


@pytest.mark.parametrize("save", CASES, ids=names)
def test_the_modes_of_a_family(loaded: Load, save: Callable[[Path], None]) -> None:
    case, modes = CASES[save], loaded(save)[1].modes

    assert {mode: able.pipeline for mode, able in modes.items()} == case.pipelines
    assert {mode for mode, able in modes.items() if not able.batches} == set(case.alone)
    assert {mode for mode, able in modes.items() if not able.prompt} == set(case.promptless)
    assert {mode: able.max_images for mode, able in modes.items()} == {
        mode: {"text": 0, "reference": case.references}.get(mode, 1) for mode in case.pipelines
    }


@pytest.mark.parametrize(("save", "mode"), MODES, ids=names)
def test_draws_the_same_alone_and_in_a_batch(loaded: Load, save: Callable[[Path], None], mode: Mode) -> None:
    engine, found = loaded(save)
    batch = make_batch(found, mode, pictures=2 if found.modes[mode].batches else 1)
    together, steps = draw_steps(engine, batch)
    (alone,), _ = draw_steps(engine, make_batch(found, mode, pictures=1))

    assert len(together) == len(batch.prompts)
    for picture in together:
        assert_size(picture, batch, found)
    assert [(done, of) for done, of, _ in steps] == [(place + 1, len(steps)) for place in range(len(steps))]
    assert len(steps) >= 2
    assert difference(together[-1], alone) <= 1
    assert len(together) == 1 or difference(together[0], alone) > 1


@pytest.mark.parametrize(("save", "mode"), MODES, ids=names)
def test_seed_and_pictures_show_in_the_result(loaded: Load, save: Callable[[Path], None], mode: Mode) -> None:
    engine, found = loaded(save)
    images = (1, 2)[: found.modes[mode].max_images]
    batch = make_batch(found, mode, pictures=1, images=images)
    (picture,), _ = draw_steps(engine, batch)

    assert difference(draw_steps(engine, replace(batch, seeds=(9,)))[0][0], picture) > 1
    if images:
        others = make_batch(found, mode, pictures=1, images=(*images[:-1], 3))
        assert difference(draw_steps(engine, others)[0][0], picture) > 1


def test_strength_says_how_much_of_a_picture_a_latent_consistency_model_draws_anew(loaded: Load) -> None:
    engine, found = loaded(miniatures.save_lcm)
    batch = make_batch(found, "image", pictures=1)
    half, most = (
        draw_steps(engine, replace(batch, sampling=replace(batch.sampling, steps=8, strength=strength)))
        for strength in (0.5, 0.75)
    )

    assert [len(steps) for _, steps in (half, most)] == [4, 6]
    assert half[1][-1] == (4, 4, 0)
    assert difference(half[0][0], most[0][0]) > 1


def assert_size(picture: Picture, batch: Batch, found: Capabilities) -> None:
    sampling = batch.sampling
    if sampling.mode == "upscale":
        factor = {f"{SD}UpscalePipeline": 4, f"{SD}LatentUpscalePipeline": 2}[found.modes["upscale"].pipeline]
        assert (picture.width, picture.height) == (16 * factor, 16 * factor)
    else:
        assert (picture.width, picture.height) == (sampling.width, sampling.height)
    assert picture.frames == (sampling.frames or 1)
