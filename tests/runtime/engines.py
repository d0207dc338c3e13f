"""The diffusers engine inside this process, and what goes into it and comes out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from heliograph_api.spec import parse_spec
from heliograph_runtime.engines.diffusers.engine import DiffusersEngine
from heliograph_runtime.engines.protocol import Batch, Capabilities, LoadError, Mode, Picture, Raster, Sampling
from pictures import Content, classify
from runtime.runtimes import EXAMPLES, TINY

SAMPLING = Sampling("text", 128, 128, steps=8, guidance_scale=4.0)
RED_CIRCLE = Batch(SAMPLING, ("a red circle on a white background",), None, (1,))

Steps = list[tuple[int, int, int]]


def load(spec: dict[str, Any], models_dir: Path = EXAMPLES) -> tuple[DiffusersEngine, Capabilities]:
    """Return an engine with the tiny model, or what the spec says instead of it."""
    engine = DiffusersEngine()
    return engine, engine.load(parse_spec(TINY | spec), models_dir=models_dir)


def load_folder(folder: Path, **spec: Any) -> tuple[DiffusersEngine, Capabilities]:
    """Return an engine with the model of a folder, or of a single file, whose parent is the models folder."""
    return load({"parameters": {"model": folder.name}, "diffusers": {}} | spec, folder.parent)


def refusal(spec: dict[str, Any], models_dir: Path = EXAMPLES) -> LoadError:
    """Return the error with which a model is refused."""
    with pytest.raises(LoadError) as caught:
        load(spec, models_dir)
    return caught.value


def draw(engine: DiffusersEngine, batch: Batch = RED_CIRCLE) -> list[Picture]:
    return draw_steps(engine, batch)[0]


def draw_steps(engine: DiffusersEngine, batch: Batch) -> tuple[list[Picture], Steps]:
    """Return what is drawn, and of each step told its number, the number of all, and that of the previews."""
    steps: Steps = []

    def on_step(done: int, of: int, previews: Sequence[Picture]) -> None:
        steps.append((done, of, len(previews)))

    return engine.generate(batch, on_step), steps


def make_sampling(found: Capabilities, mode: Mode, *, side: int = 64, steps: int = 4) -> Sampling:
    """Return a small sampling with the model's own values, as the HTTP process fills them in."""
    side = max(1, side // found.size_multiple) * found.size_multiple
    video, strength = found.video, found.modes[mode].strength
    return Sampling(
        mode,
        side,
        side,
        steps=steps,
        guidance_scale=found.guidance_scale,
        true_cfg_scale=found.true_cfg_scale,
        strength=strength and min(strength, 0.5),
        frames=video.frames_multiple + 1 if video else None,
        fps=video.fps if video else None,
    )


def patches(seed: int, width: int = 64, height: int = 64) -> Raster:
    """Return a picture of coloured squares."""
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)
    return Raster(width, height, 3, image.tobytes())


def left_half(width: int = 64, height: int = 64) -> Raster:
    """Return a mask that has the left half drawn anew."""
    mask = Image.new("L", (width, height))
    mask.paste(255, (0, 0, width // 2, height))
    return Raster(width, height, 1, mask.tobytes())


def raster(image: Image.Image) -> Raster:
    return Raster(image.width, image.height, 3, image.convert("RGB").tobytes())


def pixels(picture: Picture) -> NDArray[np.int64]:
    """Return the pixels of a picture or clip, of shape (frames, height, width, 3)."""
    shape = (picture.frames, picture.height, picture.width, 3)
    return np.frombuffer(picture.pixels, dtype=np.uint8).reshape(shape).astype(int)


def difference(first: Picture, second: Picture) -> int:
    """Return the largest difference of two pictures."""
    return int(np.abs(pixels(first) - pixels(second)).max())


def change(first: Picture, second: Picture) -> float:
    """Return the mean difference of two pictures."""
    return float(np.abs(pixels(first) - pixels(second)).mean())


def content(picture: Picture) -> Content:
    return classify(Image.frombytes("RGB", (picture.width, picture.height), picture.pixels))
