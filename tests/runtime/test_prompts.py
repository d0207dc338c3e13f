"""What a pipeline's call is given for prompts: compared with diffusers' own, and by the pictures that come of it."""

from collections.abc import Callable, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from heliograph_runtime.engines.diffusers.prompts import encode_prompts, text_family
from pictures import Content, classify
from runtime import miniatures
from runtime.pipelines import draw, load_pipeline

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # diffusers 0.42 and numpy 2.4
    pytest.mark.filterwarnings("ignore:In CPU autocast:UserWarning"),  # depth estimation in float32
]

EMBEDS = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
RED = "a red circle on a white background"
BLUE = "a blue circle on a white background"
SETTINGS = {"num_inference_steps": 8, "guidance_scale": 4.0, "width": 128, "height": 128}


@pytest.fixture(scope="module")
def tiny() -> Any:
    return load_pipeline()


@pytest.fixture(scope="module")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Makes a miniature by its name, once."""
    folder = tmp_path_factory.mktemp("miniatures")
    made: dict[str, Any] = {}

    def get(name: str) -> Any:
        if name not in made:
            getattr(miniatures, f"save_{name}")(folder / name)
            made[name] = load_pipeline(folder / name)
        return made[name]

    return get


def encode(pipeline: Any, *prompts: str, negative: tuple[str, ...] | None = None, **settings: Any) -> dict[str, Any]:
    settings = {"clip_skip": None, "weighting": True} | settings
    return encode_prompts(pipeline, prompts, negative, **settings)


@torch.no_grad()
def own_embeds(
    pipeline: Any, prompts: Sequence[str], negative: Sequence[str] | None, clip_skip: int | None = None
) -> Any:
    """What the pipeline itself makes of prompts, in the order of EMBEDS."""
    return pipeline.encode_prompt(
        list(prompts),
        device=pipeline.device,
        num_images_per_prompt=1,
        do_classifier_free_guidance=True,
        negative_prompt=list(negative) if negative else None,
        clip_skip=clip_skip,
    )


def same(found: dict[str, Any], expected: Any) -> list[bool]:
    return [torch.equal(found[name], embeds) for name, embeds in zip(EMBEDS, expected, strict=False)]


def contents(pictures: NDArray[np.float32]) -> list[Content]:
    return [classify(Image.fromarray((picture * 255).round().astype(np.uint8))) for picture in pictures]


def colours(pipeline: Any, prompt: str, *, negative: str | None = None, weighting: bool = True) -> list[str | None]:
    """The colour of the shape in three pictures."""
    unwanted = None if negative is None else (negative,) * 3
    prompts = encode(pipeline, *[prompt] * 3, negative=unwanted, weighting=weighting)
    return [content.colour for content in contents(draw(pipeline, 1, 2, 3, **prompts, **SETTINGS))]


@pytest.mark.parametrize("negative", [None, ("yellow", "green star")])
@pytest.mark.parametrize("clip_skip", [None, 1])
def test_short_prompts_of_xl_get_its_own_embeddings(
    miniature: Callable[[str], Any], negative: tuple[str, ...] | None, clip_skip: int | None
) -> None:
    pipeline = miniature("sdxl")
    expected = own_embeds(pipeline, ["red", "a blue cat"], negative, clip_skip)

    assert same(encode(pipeline, "red", "a blue cat", negative=negative, clip_skip=clip_skip), expected) == [True] * 4


@pytest.mark.parametrize("prompts", [(RED,), (RED, "star", BLUE), ("",)])
@pytest.mark.parametrize("negative", [None, "yellow"])
def test_short_prompts_get_the_pipelines_own_embeddings(
    tiny: Any, prompts: tuple[str, ...], negative: str | None
) -> None:
    unwanted = (negative,) * len(prompts) if negative else None
    expected = own_embeds(tiny, prompts, unwanted)

    found = encode(tiny, *prompts, negative=unwanted)

    assert sorted(found) == ["negative_prompt_embeds", "prompt_embeds"]
    assert same(found, expected) == [True] * 2
    assert found["prompt_embeds"].dtype == tiny.text_encoder.dtype


def test_clip_skip_is_diffusers_own(tiny: Any) -> None:
    # transformers 5.6 took away the attribute that diffusers uses here: huggingface/diffusers, issue 14124.
    object.__setattr__(tiny.text_encoder, "text_model", tiny.text_encoder)
    expected = own_embeds(tiny, [RED], ["yellow"], 1)
    object.__delattr__(tiny.text_encoder, "text_model")

    assert same(encode(tiny, RED, negative=("yellow",), clip_skip=1), expected) == [True] * 2
    assert same(encode(tiny, RED, negative=("yellow",)), expected) == [False, True]


def test_pictures_stay_as_they_are(tiny: Any) -> None:
    plain = draw(tiny, 1, prompt=RED, negative_prompt="yellow", **SETTINGS)

    assert np.array_equal(draw(tiny, 1, **encode(tiny, RED, negative=("yellow",)), **SETTINGS), plain)


def test_an_empty_negative_prompt_of_xl_is_none(miniature: Callable[[str], Any]) -> None:
    pipeline = miniature("sdxl")
    mixed = encode(pipeline, "cat", "dog", negative=("", "red"))

    for name in EMBEDS[1::2]:
        assert torch.equal(mixed[name][0], encode(pipeline, "cat")[name][0])
        assert mixed[name][1].any()


@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3", "flux"])
def test_without_guidance_there_is_nothing_negative(miniature: Callable[[str], Any], name: str) -> None:
    found = encode(miniature(name), "a (red:1.5) cat", negative=("dog",), guided=False)

    assert found
    assert not any(key.startswith("negative") for key in found)


def test_weights_decide_between_two_colours(tiny: Any) -> None:
    assert colours(tiny, f"({RED}:1.5) BREAK ({BLUE}:0.5)") == ["red"] * 3
    assert colours(tiny, f"({RED}:0.5) BREAK ({BLUE}:1.5)") == ["blue"] * 3


def test_a_weight_shows_in_the_picture(tiny: Any) -> None:
    plain, *weighted = (
        draw(tiny, 1, **encode(tiny, f"a ({word}) circle"), **SETTINGS)
        for word in ("red:1", "red:1.5", "red:0", "red:-1")
    )

    for picture in weighted:
        assert np.abs(picture - plain).max() > 0.01


def test_brackets_can_be_text(tiny: Any) -> None:
    prompt = "a (red:1.5) circle BREAK [on] white"

    found = encode(tiny, prompt, negative=("(yellow)",), weighting=False)

    assert same(found, own_embeds(tiny, [prompt], ["(yellow)"])) == [True] * 2
    assert not same(encode(tiny, prompt, negative=("(yellow)",)), own_embeds(tiny, [prompt], ["(yellow)"]))[1]


def test_a_prompt_is_read_beyond_77_tokens(tiny: Any) -> None:
    assert colours(tiny, "a " * 90 + "red circle on a white background") == ["red"] * 3
    assert "red" not in colours(tiny, "a " * 90 + "blue circle on a white background")


def test_a_negative_prompt_is_read_beyond_77_tokens(tiny: Any) -> None:
    prompt = "a red circle on a white background"
    without, far = (
        draw(tiny, 1, **encode(tiny, prompt, negative=(negative,)), **SETTINGS)
        for negative in ("a " * 90, "a " * 90 + "red")
    )

    assert np.abs(far - without).max() > 0.05


def test_a_picture_does_not_depend_on_the_length_of_other_prompts(tiny: Any) -> None:
    (alone,) = draw(tiny, 1, **encode(tiny, RED), **SETTINGS)
    (beside, _) = draw(tiny, 1, 2, **encode(tiny, RED, "star, " * 100), **SETTINGS)

    assert np.abs(beside - alone).max() < 2 / 255


@pytest.mark.parametrize(("name", "places"), [("flux", {3, 4, 5, 6}), ("sd3", {3, 4, 5, 80, 81, 82, 83})])
def test_a_weight_moves_its_token_alone_where_t5_reads(
    miniature: Callable[[str], Any], name: str, places: set[int]
) -> None:
    pipeline = miniature(name)
    plain = encode(pipeline, "(x:2)", "ab cde fg")
    found = [encode(pipeline, f"ab (cde:{weight}) fg") for weight in (0, 0.5, 1.5, 2)]

    for embeds in found:
        moved = (embeds["prompt_embeds"][0] - plain["prompt_embeds"][1]).abs().amax(dim=-1)
        assert set((moved > 1e-5).nonzero().flatten().tolist()) == places
        torch.testing.assert_close(embeds["pooled_prompt_embeds"][0], plain["pooled_prompt_embeds"][1])
    none, half, more, double = (embeds["prompt_embeds"] for embeds in found)
    torch.testing.assert_close(half - none, double - more)
    torch.testing.assert_close(more - half, 2 * (double - more))
    empty = encode(pipeline, "(x:2)", "")["prompt_embeds"][1]
    torch.testing.assert_close(none[0, sorted(places)], empty[sorted(places)])


@pytest.mark.parametrize("name", ["flux", "sd3"])
def test_a_prompt_without_weights_is_left_to_a_pipeline_with_t5(miniature: Callable[[str], Any], name: str) -> None:
    found = encode(miniature(name), r"a \(red\) cat BREAK dog", "bird", negative=("x", "[y]"), clip_skip=1)

    assert found["prompt"] == ["a (red) cat   dog", "bird"]
    assert found["negative_prompt_embeds"].shape[0] == 2
    assert "prompt_embeds" not in found
    assert found.get("clip_skip") == (1 if name == "sd3" else None)


@pytest.mark.parametrize(("name", "clip"), [("flux", 0), ("sd3", 77)])
def test_the_length_that_t5_reads_is_kept(miniature: Callable[[str], Any], name: str, clip: int) -> None:
    found = encode(miniature(name), "a (red:2) cat", max_sequence_length=32)

    assert found["prompt_embeds"].shape[1] == clip + 32


def test_sd3_can_do_without_t5(miniature: Callable[[str], Any]) -> None:
    pipeline = miniature("sd3")
    lesser = type(pipeline)(**pipeline.components | {"text_encoder_3": None, "tokenizer_3": None})

    found = encode(lesser, "a (red:2) cat")

    assert text_family(lesser) == "sd3"
    assert not found["prompt_embeds"][:, 77:].any()
    assert not torch.equal(found["prompt_embeds"], encode(lesser, "(x:2)", "a red cat")["prompt_embeds"][1:])


@pytest.mark.parametrize(
    ("name", "relative"),
    [
        ("sd", "StableDiffusionPipeline"),
        ("sd", "StableDiffusionImg2ImgPipeline"),
        ("sd", "StableDiffusionInpaintPipeline"),
        ("sd", "StableDiffusionControlNetPipeline"),
        ("sd_inpaint", "StableDiffusionInpaintPipeline"),
        ("depth", "StableDiffusionDepth2ImgPipeline"),
        ("lcm", "LatentConsistencyModelPipeline"),
        ("sdxl", "StableDiffusionXLPipeline"),
        ("sdxl", "StableDiffusionXLImg2ImgPipeline"),
        ("sdxl", "StableDiffusionXLInpaintPipeline"),
        ("sdxl", "StableDiffusionXLControlNetPipeline"),
        ("sdxl_refiner", "StableDiffusionXLImg2ImgPipeline"),
        ("sd3", "StableDiffusion3Pipeline"),
        ("sd3", "StableDiffusion3Img2ImgPipeline"),
        ("sd3", "StableDiffusion3InpaintPipeline"),
        ("flux", "FluxPipeline"),
        ("flux", "FluxImg2ImgPipeline"),
        ("flux", "FluxInpaintPipeline"),
        ("flux_kontext", "FluxKontextPipeline"),
        ("flux_fill", "FluxFillPipeline"),
    ],
)
def test_all_relatives_draw_from_what_they_are_given(
    miniature: Callable[[str], Any], name: str, relative: str, tmp_path: Path
) -> None:
    pipeline = miniature(name)
    more = {"controlnet": control_net(name, tmp_path)} if "ControlNet" in relative else {}
    if type(pipeline).__name__ != relative:
        pipeline = as_relative(pipeline, relative, **more)
    known = signature(pipeline.__call__).parameters
    negative = {"negative_prompt": ["a dog"]} if "negative_prompt" in known else {}

    plain = draw_small(pipeline, prompt=["a red cat"], **negative)
    same_way = draw_small(pipeline, **encode(pipeline, "a red cat", negative=("a dog",)))
    weighted = draw_small(pipeline, **encode(pipeline, "a (red:3) cat", negative=("a (dog:2)",)))

    assert np.array_equal(same_way, plain)
    assert not np.array_equal(weighted, plain)


def test_an_unknown_way_to_read_prompts_gets_the_text(tiny: Any) -> None:
    pipeline = as_relative(tiny, "StableDiffusionInstructPix2PixPipeline")

    assert text_family(pipeline) is None
    assert encode(pipeline, "a (red:2) cat", negative=("[x]",), clip_skip=1) == {
        "prompt": ["a (red:2) cat"],
        "negative_prompt": ["[x]"],
    }


def as_relative(pipeline: Any, relative: str, **more: Any) -> Any:
    """The parts of a pipeline in another class."""
    made = getattr(diffusers, relative)(**pipeline.components, **more)
    made.set_progress_bar_config(disable=True)
    return made


def control_net(name: str, folder: Path) -> Any:
    getattr(miniatures, f"save_{name}_controlnet")(folder)
    model_class: Any = diffusers.ControlNetModel
    return model_class.from_pretrained(folder)


def draw_small(pipeline: Any, **prompts: Any) -> NDArray[np.float32]:
    grey = Image.new("RGB", (64, 64), (120, 130, 140))
    wanted = {
        "image": grey, "mask_image": Image.new("L", (64, 64), 255), "width": 64, "height": 64, "num_inference_steps": 2,
        "guidance_scale": 3.0, "true_cfg_scale": 2.0, "strength": 1.0, "max_area": 64 * 64,
    }  # fmt: skip
    known = signature(pipeline.__call__).parameters
    return draw(pipeline, 1, **prompts, **{name: value for name, value in wanted.items() if name in known})
