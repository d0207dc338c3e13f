"""What pictures of stable-diffusion.cpp show: examples/tiny-flux.yaml as it is, judged by colours and shapes."""

from itertools import cycle, islice
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image

from pictures import BACKGROUNDS, SHAPE_COLOURS, SHAPES, Content, classify, draw
from runtime.conftest import StartRuntime
from runtime.picture_files import b64
from runtime.runtimes import EXAMPLES, Runtime

# A second thread wins little with so small a model, and loses much where the machine has other work.
SPEC: dict[str, Any] = {**yaml.safe_load((EXAMPLES / "tiny-flux.yaml").read_text())["spec"], "threads": 1}
SIZE = (128, 128)
CIRCLE = draw("red", "circle", "white")
INPAINTING = "/v1/images/inpainting"


@pytest.fixture(scope="module")
def tiny_flux(start_runtime: StartRuntime) -> Runtime:
    return start_runtime(SPEC, base={}, models_dir=EXAMPLES)


def prompt(content: Content) -> str:
    return f"a {content.colour} {content.shape} on a {content.background} background"


def pixels(image: Image.Image) -> NDArray[np.int64]:
    return np.asarray(image.convert("RGB"), dtype=int)


def test_pictures_show_what_their_prompts_say(tiny_flux: Runtime) -> None:
    """Nothing but the prompt and the seed is asked for: size, steps and guidance are the example's own."""
    backgrounds = cycle(BACKGROUNDS)
    contents = [
        Content(colour, shape, next(it for it in backgrounds if it != colour))
        for colour, shape in islice(zip(cycle(SHAPE_COLOURS), cycle((*SHAPES, "heart")), strict=False), 20)
    ]

    drawn = [tiny_flux.draw(prompt(content), seed=seed)[0] for seed, content in enumerate(contents)]

    assert {picture.size for picture in drawn} == {SIZE}
    found = list(map(classify, drawn))
    wrong = [(asked, shown) for asked, shown in zip(contents, found, strict=True) if asked != shown]
    assert len(wrong) <= 4, wrong


def test_a_prompt_says_which_colour_is_whose(tiny_flux: Runtime) -> None:
    asked = [Content("red", "circle", "blue"), Content("blue", "circle", "yellow"), Content("yellow", "circle", "blue")]

    drawn = tiny_flux.draw(list(map(prompt, asked)), seed=3)

    assert list(map(classify, drawn)) == asked


def test_a_weak_change_keeps_the_colour_and_a_strong_one_follows_the_prompt(tiny_flux: Runtime) -> None:
    wanted = Content("blue", "circle", "white")

    def changed(strength: float) -> Content:
        return classify(tiny_flux.edit(prompt(wanted), image=b64(CIRCLE), strength=strength, seed=1))

    assert changed(0.2) == Content("red", "circle", "white")
    assert changed(0.95) == wanted


def test_outside_the_mask_nothing_changes_and_inside_the_prompt_is_drawn(tiny_flux: Runtime) -> None:
    """To the last bit of a picture that no autoencoder gives back."""
    box = (16, 16, 112, 112)
    noise = Image.merge("RGB", [Image.effect_noise(SIZE, 60) for _ in range(3)])
    noise.paste("white", box)
    mask = Image.new("L", SIZE)
    mask.paste(255, box)
    inside = np.asarray(mask) == 255

    edited = tiny_flux.edit(prompt(Content("blue", "circle", "white")), INPAINTING, image=b64(noise), mask=b64(mask))

    assert (pixels(edited)[~inside] == pixels(noise)[~inside]).all()
    assert classify(edited.crop((19, 19, 109, 109))).colour == "blue"


def test_larger_pictures_than_the_model_was_trained_for_are_refused(tiny_flux: Runtime) -> None:
    error = tiny_flux.post(prompt="a red circle", size="1024x1024").json()["error"]

    assert error["param"] == "size"


def test_with_guidance_a_negative_prompt_takes_a_colour_away(tiny_flux: Runtime) -> None:
    asked: dict[str, Any] = {"prompt": "a circle on a white background", "seed": 2, "cfg_scale": 3}

    (plain,) = map(classify, tiny_flux.draw(**asked))
    (without,) = map(classify, tiny_flux.draw(**asked, negative_prompt=f"a {plain.colour} shape"))

    assert plain.colour is not None
    assert without.colour != plain.colour
