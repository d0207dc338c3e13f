"""The miniatures themselves, straight through diffusers: each can be loaded, and draws what its inputs say."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from runtime import miniatures as mini
from runtime.miniature_parts import load_pipeline

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # diffusers 0.42 and numpy 2.4
    pytest.mark.filterwarnings("ignore:.?FluxPosEmbed.? is deprecated:FutureWarning"),  # diffusers' own use of it
    pytest.mark.filterwarnings("ignore:In CPU autocast:UserWarning"),  # depth estimation in float32
]

Save = Callable[[Path], None]
Saved = Callable[[Save], Path]


@dataclass(frozen=True)
class Case:
    """A call of a pipeline, and for each input that must show in the result another value.

    Attributes:
        pipeline: Class that loads the miniature and draws.
        save: What makes the miniature.
        inputs: Arguments of the call.
        others: Other values of some of them, each given alone.
        shape: Shape of the result.
        controlnet: Class of a ControlNet to draw with, and what makes it.
    """

    pipeline: str
    save: Save
    inputs: dict[str, Any]
    others: dict[str, Any]
    shape: tuple[int, ...] = (1, 64, 64, 3)
    controlnet: tuple[str, Save] | None = None

    def __str__(self) -> str:
        return f"{self.pipeline}-{self.save.__name__}"


def patches(seed: int, side: int = 64) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((side, side))


def half(left: int) -> Image.Image:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (left, 0, left + 32, 64))
    return mask


TEXT = {"prompt": "a cat", "width": 64, "height": 64}
OTHER_TEXT = {"prompt": "two blue dogs"}
NEGATIVE = OTHER_TEXT | {"negative_prompt": "red"}
PICTURE = TEXT | {"image": patches(1)}
OTHER_PICTURE = OTHER_TEXT | {"image": patches(2)}
CHANGE = {"prompt": "a cat", "image": patches(1), "strength": 0.6, "num_inference_steps": 4}
SIZED_CHANGE = TEXT | CHANGE
FILL = PICTURE | {"mask_image": half(0)}
OTHER_FILL = OTHER_PICTURE | {"mask_image": half(32)}
CONTROL = TEXT | {"control_image": patches(3)}
OTHER_CONTROL = OTHER_TEXT | {"control_image": patches(4)}
REFERENCES = {"image": [patches(1), patches(2)]}
SMALL, OTHER_SMALL = {"prompt": "a cat", "image": patches(1, 16)}, OTHER_TEXT | {"image": patches(2, 16)}
MIDDLE, OTHER_MIDDLE = {"prompt": "a cat", "image": patches(1, 32)}, OTHER_TEXT | {"image": patches(2, 32)}
VIDEO = TEXT | {"num_frames": 5}
LONG = TEXT | {"num_frames": 9}
STILL = {"image": patches(1), "width": 64, "height": 64}
FROM_TO, OTHER_FROM_TO = PICTURE | VIDEO | {"last_image": patches(3)}, OTHER_PICTURE | {"last_image": patches(4)}
FIVE_FRAMES, NINE_FRAMES = (1, 5, 64, 64, 3), (1, 9, 64, 64, 3)
AS_ASKED = {"use_resolution_binning": False}
KONTEXT = PICTURE | {"max_area": 64 * 64, "_auto_resize": False}
SD_CONTROL = ("ControlNetModel", mini.save_sd_controlnet)
SDXL_CONTROL = ("ControlNetModel", mini.save_sdxl_controlnet)
FLUX_CONTROL = ("FluxControlNetModel", mini.save_flux_controlnet)

CASES = [
    Case("StableDiffusionPipeline", mini.save_sd, TEXT, NEGATIVE),
    Case("StableDiffusionPipeline", mini.save_sd2, TEXT, NEGATIVE),
    Case("StableDiffusionImg2ImgPipeline", mini.save_sd, CHANGE, OTHER_PICTURE),
    Case("StableDiffusionInpaintPipeline", mini.save_sd, FILL, OTHER_FILL),
    Case("StableDiffusionInpaintPipeline", mini.save_sd_inpaint, FILL, OTHER_FILL),
    Case("StableDiffusionControlNetPipeline", mini.save_sd, PICTURE, OTHER_PICTURE, controlnet=SD_CONTROL),
    Case(
        "StableDiffusionControlNetImg2ImgPipeline", mini.save_sd, CHANGE | CONTROL, OTHER_CONTROL, controlnet=SD_CONTROL
    ),
    Case(
        "StableDiffusionControlNetInpaintPipeline", mini.save_sd, FILL | CONTROL, OTHER_CONTROL, controlnet=SD_CONTROL
    ),
    Case("StableDiffusionDepth2ImgPipeline", mini.save_depth, CHANGE, OTHER_PICTURE),
    Case("LatentConsistencyModelPipeline", mini.save_lcm, TEXT, OTHER_TEXT | {"guidance_scale": 2.0}),
    Case("StableDiffusionUpscalePipeline", mini.save_upscale, SMALL, OTHER_SMALL),
    Case("StableDiffusionLatentUpscalePipeline", mini.save_latent_upscale, MIDDLE, OTHER_MIDDLE),
    Case("StableDiffusionXLPipeline", mini.save_sdxl, TEXT, NEGATIVE),
    Case("StableDiffusionXLImg2ImgPipeline", mini.save_sdxl, CHANGE, OTHER_PICTURE),
    Case("StableDiffusionXLImg2ImgPipeline", mini.save_sdxl_refiner, CHANGE, OTHER_PICTURE | {"aesthetic_score": 1.0}),
    Case("StableDiffusionXLInpaintPipeline", mini.save_sdxl, FILL, OTHER_FILL),
    Case("StableDiffusionXLControlNetPipeline", mini.save_sdxl, PICTURE, OTHER_PICTURE, controlnet=SDXL_CONTROL),
    Case("StableDiffusion3Pipeline", mini.save_sd3, TEXT, NEGATIVE),
    Case("StableDiffusion3Img2ImgPipeline", mini.save_sd3, SIZED_CHANGE, OTHER_PICTURE),
    Case("StableDiffusion3InpaintPipeline", mini.save_sd3, FILL, OTHER_FILL),
    Case("FluxPipeline", mini.save_flux, TEXT, OTHER_TEXT | {"guidance_scale": 1.0}),
    Case("FluxPipeline", mini.save_flux_schnell, TEXT, OTHER_TEXT),
    Case("FluxImg2ImgPipeline", mini.save_flux, SIZED_CHANGE, OTHER_PICTURE),
    Case("FluxInpaintPipeline", mini.save_flux, FILL, OTHER_FILL),
    Case("FluxFillPipeline", mini.save_flux_fill, FILL, OTHER_FILL),
    Case("FluxKontextPipeline", mini.save_flux_kontext, KONTEXT, OTHER_PICTURE),
    Case("FluxKontextInpaintPipeline", mini.save_flux_kontext, FILL | KONTEXT, OTHER_FILL),
    Case("FluxControlNetPipeline", mini.save_flux, CONTROL, OTHER_CONTROL, controlnet=FLUX_CONTROL),
    Case("Flux2Pipeline", mini.save_flux2, PICTURE, OTHER_PICTURE | {"guidance_scale": 1.0}),
    Case("Flux2KleinPipeline", mini.save_flux2_klein, PICTURE | REFERENCES, OTHER_PICTURE | {"guidance_scale": 1.0}),
    Case("Flux2KleinInpaintPipeline", mini.save_flux2_klein, FILL, OTHER_FILL),
    Case("ChromaPipeline", mini.save_chroma, TEXT, NEGATIVE),
    Case("ChromaImg2ImgPipeline", mini.save_chroma, SIZED_CHANGE, OTHER_PICTURE),
    Case("SanaPipeline", mini.save_sana, TEXT | AS_ASKED, NEGATIVE),
    Case("PixArtSigmaPipeline", mini.save_pixart, TEXT | AS_ASKED, NEGATIVE),
    Case("ZImagePipeline", mini.save_z_image, TEXT, NEGATIVE),
    Case("ZImageImg2ImgPipeline", mini.save_z_image, SIZED_CHANGE, OTHER_PICTURE),
    Case("ZImageInpaintPipeline", mini.save_z_image, FILL, OTHER_FILL),
    Case("QwenImagePipeline", mini.save_qwen_image, TEXT | {"negative_prompt": " "}, NEGATIVE),
    Case("QwenImageImg2ImgPipeline", mini.save_qwen_image, SIZED_CHANGE, OTHER_PICTURE),
    Case("QwenImageInpaintPipeline", mini.save_qwen_image, FILL, OTHER_FILL),
    Case("QwenImageEditPipeline", mini.save_qwen_image_edit, PICTURE, OTHER_PICTURE),
    Case("QwenImageEditPlusPipeline", mini.save_qwen_image_edit_plus, PICTURE, REFERENCES),
    Case("TextToVideoSDPipeline", mini.save_text_to_video, VIDEO, NEGATIVE, FIVE_FRAMES),
    Case(
        "StableVideoDiffusionPipeline",
        mini.save_stable_video,
        STILL,
        {"image": patches(2), "fps": 20},
        (1, 4, 64, 64, 3),
    ),
    Case("WanPipeline", mini.save_wan, VIDEO, NEGATIVE, FIVE_FRAMES),
    Case("WanImageToVideoPipeline", mini.save_wan_image, PICTURE | VIDEO, OTHER_PICTURE, FIVE_FRAMES),
    Case("WanImageToVideoPipeline", mini.save_wan22_image, FROM_TO, OTHER_FROM_TO, FIVE_FRAMES),
    Case("LTXPipeline", mini.save_ltx, LONG, NEGATIVE, NINE_FRAMES),
    Case("LTXImageToVideoPipeline", mini.save_ltx_image, PICTURE | LONG, OTHER_PICTURE, NINE_FRAMES),
    Case("LTX2Pipeline", mini.save_ltx2, LONG, NEGATIVE, NINE_FRAMES),
    Case("LTX2ImageToVideoPipeline", mini.save_ltx2_image, PICTURE | LONG, OTHER_PICTURE, NINE_FRAMES),
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Gives the folder of a miniature, made once."""
    folders: dict[Save, Path] = {}

    def folder_of(save: Save) -> Path:
        if save not in folders:
            folders[save] = tmp_path_factory.mktemp(save.__name__)
            save(folders[save])
        return folders[save]

    return folder_of


def draw(pipeline: Any, inputs: dict[str, Any]) -> Any:
    """Return a result's numbers, 0 to 1 for black to white."""
    call = {"num_inference_steps": 2, "output_type": "np", "generator": torch.Generator().manual_seed(1)} | inputs
    result = pipeline(**call)
    return np.asarray(result.frames if "frames" in result else result.images)


def difference(first: Any, second: Any) -> float:
    """Return the greatest difference of two results, in steps of eight bits."""
    return float(np.abs(first - second).max() * 255)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_input_shows_in_the_result(case: Case, saved: Saved) -> None:
    parts = {}
    if case.controlnet:
        model, save = case.controlnet
        parts["controlnet"] = getattr(diffusers, model).from_pretrained(saved(save), local_files_only=True)
    pipeline = load_pipeline(case.pipeline, saved(case.save), **parts)

    drawn = draw(pipeline, case.inputs)

    assert drawn.shape == case.shape
    assert np.isfinite(drawn).all()
    assert draw(pipeline, case.inputs).tolist() == drawn.tolist()
    for name, other in case.others.items():
        assert difference(draw(pipeline, case.inputs | {name: other}), drawn) > 3, name


@pytest.mark.parametrize("save", [mini.save_sd, mini.save_qwen_image, mini.save_wan])
def test_a_miniature_is_the_same_each_time(save: Save, saved: Saved, tmp_path: Path) -> None:
    torch.rand(1)
    state = torch.get_rng_state()
    save(tmp_path)

    weights = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.safetensors"))
    assert weights
    assert all((tmp_path / path).read_bytes() == (saved(save) / path).read_bytes() for path in weights)
    assert torch.equal(torch.get_rng_state(), state)


def test_no_miniature_takes_much_room(saved: Saved) -> None:
    for save in {case.save for case in CASES}:
        assert sum(path.stat().st_size for path in saved(save).rglob("*") if path.is_file()) < 8_000_000, save


@pytest.mark.parametrize(
    ("pipeline", "save"),
    [
        ("StableDiffusionPipeline", mini.save_sd),
        ("StableDiffusionXLPipeline", mini.save_sdxl),
        ("StableDiffusion3Pipeline", mini.save_sd3),
        ("FluxPipeline", mini.save_flux),
        ("QwenImagePipeline", mini.save_qwen_image),
    ],
)
def test_a_lora_shows_as_much_as_it_weighs(pipeline: str, save: Save, saved: Saved, tmp_path: Path) -> None:
    mini.save_lora(saved(save), tmp_path / "lora.safetensors")
    loaded = load_pipeline(pipeline, saved(save))
    without = draw(loaded, TEXT)

    loaded.load_lora_weights(tmp_path, weight_name="lora.safetensors", adapter_name="lora", local_files_only=True)
    full = draw(loaded, TEXT)
    loaded.set_adapters(["lora"], [0.5])
    half_weight = draw(loaded, TEXT)
    loaded.set_adapters(["lora"], [0.0])

    assert difference(full, without) > 3
    assert difference(half_weight, without) > 1
    assert difference(half_weight, full) > 1
    assert difference(draw(loaded, TEXT), without) < 1


def test_an_embedding_gives_a_word_a_meaning(saved: Saved, tmp_path: Path) -> None:
    mini.save_embedding(tmp_path / "ball.safetensors", token="<ball>")
    pipeline = load_pipeline("StableDiffusionPipeline", saved(mini.save_sd))
    prompt = TEXT | {"prompt": "a <ball>"}
    without = draw(pipeline, prompt)

    pipeline.load_textual_inversion(tmp_path / "ball.safetensors", local_files_only=True)

    assert pipeline.maybe_convert_prompt("a <ball>", pipeline.tokenizer) == "a <ball> <ball>_1"
    assert difference(draw(pipeline, prompt), without) > 3
