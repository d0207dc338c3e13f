"""What is told of a call while it goes on: steps, previews, and that it can be left at each of them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from heliograph_runtime.engines.diffusers.engine import DiffusersEngine
from heliograph_runtime.engines.protocol import Batch, Inputs, Mode, Picture
from pictures import Content
from pictures import draw as draw_true
from runtime import miniatures
from runtime.engines import (
    RED_CIRCLE,
    SAMPLING,
    content,
    difference,
    draw,
    draw_steps,
    left_half,
    load,
    load_folder,
    make_sampling,
    patches,
    raster,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),  # diffusers 0.42 and numpy 2.4
    pytest.mark.filterwarnings("ignore:.?FluxPosEmbed.? is deprecated:FutureWarning"),  # diffusers' own use of it
    pytest.mark.filterwarnings("ignore:In CPU autocast:UserWarning"),  # depth estimation in float32
]

IMAGE = Inputs(images=(raster(draw_true("red", "circle", "white")),), mask=left_half(128, 128))


@pytest.fixture(scope="module")
def tiny() -> DiffusersEngine:
    return load({})[0]


@pytest.mark.parametrize(
    ("mode", "sampler", "strength", "told"),
    [
        ("text", "ddim", None, 8),
        ("text", "heun", None, 8),
        ("text", "dpm_2", None, 8),
        ("text", "dpmpp_2m", None, 8),
        ("image", "ddim", 0.5, 4),
        ("image", "heun", 0.5, 4),
        ("image", "euler", 0.3, 2),
        ("inpaint", "euler_a", 1.0, 8),
        ("inpaint", "dpm_2", 0.5, 4),
    ],
)
def test_whole_steps_are_told(
    tiny: DiffusersEngine, mode: Mode, sampler: str, strength: float | None, told: int
) -> None:
    sampling = replace(SAMPLING, mode=mode, sampler=sampler, strength=strength)
    inputs = None if mode == "text" else IMAGE
    _, steps = draw_steps(tiny, replace(RED_CIRCLE, sampling=sampling, inputs=inputs))

    assert steps == [(place, told, 0) for place in range(1, told + 1)]


@pytest.mark.parametrize("strength", [0.75, 0.4, 0.25])
@pytest.mark.parametrize("mode", ["image", "inpaint"])
@pytest.mark.parametrize("save", [miniatures.save_flux, miniatures.save_sd3])
def test_heun_starts_where_euler_does(
    tmp_path: Path, save: Callable[[Path], None], mode: Mode, strength: float
) -> None:
    save(tmp_path / "model")
    engine, found = load_folder(tmp_path / "model")
    sampling = replace(make_sampling(found, mode, side=32, steps=20), strength=strength)
    batch = Batch(sampling, ("a cat",), None, (1,), Inputs((patches(1, 32, 32),), left_half(32, 32)))

    told = {
        sampler: draw_steps(engine, replace(batch, sampling=replace(sampling, sampler=sampler)))[1]
        for sampler in ("euler", "heun")
    }

    steps = round(20 * strength)
    assert told["heun"] == told["euler"] == [(place, steps, 0) for place in range(1, steps + 1)]


LEFT: list[tuple[Callable[[Path], None], Mode]] = [
    (miniatures.save_sd, "inpaint"),
    (miniatures.save_depth, "image"),
    (miniatures.save_upscale, "upscale"),
    (miniatures.save_latent_upscale, "upscale"),
    (miniatures.save_pixart, "text"),
    (miniatures.save_flux_kontext, "text"),
    (miniatures.save_stable_video, "image"),
    (miniatures.save_text_to_video, "text"),
]


@pytest.mark.parametrize(("save", "mode"), LEFT, ids=lambda it: getattr(it, "__name__", it))
def test_a_call_of_any_class_can_be_left_after_each_step(
    tmp_path: Path, save: Callable[[Path], None], mode: Mode
) -> None:
    save(tmp_path / "model")
    engine, found = load_folder(tmp_path / "model")
    sampling = make_sampling(found, mode, side=32)
    inputs = None if mode == "text" else Inputs((patches(1, 32, 32),), left_half(32, 32))
    batch = Batch(sampling, ("a cat" if found.modes[mode].prompt else "",), None, (1,), inputs)
    (before,) = draw(engine, batch)
    told: list[int] = []

    def leave(done: int, _of: int, _previews: Sequence[Picture]) -> None:
        told.append(done)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        engine.generate(batch, leave)

    assert told == [1]
    assert difference(draw(engine, batch)[0], before) == 0


def test_a_call_can_be_left_between_two_steps(tiny: DiffusersEngine) -> None:
    (before,) = draw(tiny)
    steps: list[tuple[int, int]] = []

    def on_step(done: int, of: int, _previews: Sequence[Picture]) -> None:
        steps.append((done, of))
        if done == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        tiny.generate(replace(RED_CIRCLE, sampling=replace(SAMPLING, sampler="heun")), on_step)

    assert steps == [(1, 8), (2, 8), (3, 8)]
    assert difference(draw(tiny)[0], before) == 0


def test_previews_show_the_picture_as_it_comes_about(tiny: DiffusersEngine) -> None:
    prompts = ("a red circle on a white background", "a blue square on a yellow background")
    seen: dict[int, Sequence[Picture]] = {}

    def on_step(done: int, _of: int, previews: Sequence[Picture]) -> None:
        seen[done] = previews

    batch = Batch(replace(SAMPLING, steps=12), prompts, None, (1, 2), preview_steps=(6, 12))
    drawn = tiny.generate(batch, on_step)

    assert [len(seen[step]) for step in range(1, 13)] == [0] * 5 + [2] + [0] * 5 + [2]
    assert [(picture.width, picture.height) for picture in seen[6]] == [(128, 128)] * 2
    # After the last step the latents are those that the result is made of.
    assert [difference(*pair) for pair in zip(seen[12], drawn, strict=True)] == [0, 0]
    assert content(seen[12][0]) == Content("red", "circle", "white")
    assert difference(seen[6][0], drawn[0]) > 20
    assert [difference(*pair) for pair in zip(draw(tiny, replace(batch, preview_steps=())), drawn, strict=True)] == [
        0,
        0,
    ]


@pytest.mark.parametrize(
    "save", [miniatures.save_flux, miniatures.save_sd3, miniatures.save_chroma, miniatures.save_sana]
)
def test_the_last_preview_is_the_result_in_other_families(tmp_path: Path, save: Callable[[Path], None]) -> None:
    save(tmp_path / "model")
    engine, found = load_folder(tmp_path / "model")
    sampling = replace(make_sampling(found, "text", steps=2), height=96)
    previews: list[Picture] = []
    (drawn,) = engine.generate(
        Batch(sampling, ("a cat",), None, (1,), preview_steps=(2,)), lambda _done, _of, shown: previews.extend(shown)
    )

    assert found.previews
    assert [difference(preview, drawn) <= 1 for preview in previews] == [True]
