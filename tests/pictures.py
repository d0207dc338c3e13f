"""Says what is in a picture of the tiny model: which shape, in which colour, on which background.

The model draws one plain shape on a plain background. The background is the median colour of the picture's frame; the
shape is the largest connected area that differs from it; its class is the one of six templates that overlaps most (IoU)
once both are cut to their bounding boxes and brought to one size. The palette and the shapes' outlines are those that
the model was trained with (examples/tiny-model/training/data.py).
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SHAPE_COLOURS = {
    "red": (220, 30, 30), "orange": (245, 140, 20), "yellow": (250, 220, 30), "green": (30, 160, 50),
    "blue": (30, 70, 220), "purple": (130, 40, 170), "white": (250, 250, 250), "black": (15, 15, 15),
}  # fmt: skip
BACKGROUNDS = {
    "white": (250, 250, 250), "black": (15, 15, 15), "gray": (128, 128, 128), "yellow": (250, 220, 30),
    "blue": (30, 70, 220), "pink": (250, 170, 195),
}  # fmt: skip
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")

_PALETTE = SHAPE_COLOURS | BACKGROUNDS
_LEAST_CONTRAST = 50
"""Distance in RGB below which nothing counts as drawn."""

Colour = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Content:
    """What is in a picture; None where nothing is drawn, or where it is too small to tell."""

    colour: str | None
    shape: str | None
    background: str


def classify(image: Image.Image) -> Content:
    """Return what is in a picture."""
    pixels = np.asarray(image.convert("RGB"), dtype=float)
    background = _frame_colour(pixels)
    distance = np.sqrt(((pixels - background) ** 2).sum(axis=2))
    if distance.max() < _LEAST_CONTRAST:
        return Content(None, None, _nearest(background))
    core = _largest_area(distance > 0.5 * np.percentile(distance, 99.5))
    colour = np.median(pixels[core & (distance >= np.median(distance[core]))], axis=0)
    coverage = ((pixels - background) @ (colour - background)) / ((colour - background) @ (colour - background) + 1e-6)
    mask = _cut_out(_largest_area(coverage > 0.5))
    return Content(_nearest(colour), None if mask is None else _best_shape(mask), _nearest(background))


def draw(colour: str, shape: str, background: str, *, size: int = 128) -> Image.Image:
    """Return a true picture of a shape, as the model was trained to draw it."""
    image = Image.new("RGB", (size, size), BACKGROUNDS[background])
    points = [(size * (0.5 + 0.35 * x), size * (0.5 + 0.35 * y)) for x, y in _OUTLINES[shape]]
    ImageDraw.Draw(image).polygon(points, fill=SHAPE_COLOURS[colour])
    return image


def _frame_colour(pixels: NDArray[np.float64]) -> Colour:
    width = max(2, len(pixels) // 32)
    sides = (pixels[:width], pixels[-width:], pixels[:, :width], pixels[:, -width:])
    return np.asarray(np.median(np.concatenate([side.reshape(-1, 3) for side in sides]), axis=0))


def _nearest(colour: Colour) -> str:
    return min(_PALETTE, key=lambda name: float(((np.array(_PALETTE[name]) - colour) ** 2).sum()))


def _largest_area(mask: Mask) -> Mask:
    """Return the largest part of a mask whose pixels touch each other side by side."""
    rest = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    largest: set[tuple[int, int]] = set()
    while len(rest) > len(largest):
        area = set()
        edge = [rest.pop()]
        while edge:
            y, x = edge.pop()
            area.add((y, x))
            around = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} & rest
            rest -= around
            edge += around
        largest = max(largest, area, key=len)
    found = np.zeros_like(mask)
    for y, x in largest:
        found[y, x] = True
    return found


def _cut_out(mask: Mask) -> Mask | None:
    """Return a mask's bounding box at 32x32, or None when there is too little of it."""
    ys, xs = np.nonzero(mask)
    if len(ys) < 12:
        return None
    box = mask[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1].astype(np.uint8) * 255
    return np.asarray(Image.fromarray(box).resize((32, 32), Image.Resampling.BILINEAR)) > 127


def _best_shape(mask: Mask) -> str:
    def overlap(shape: str) -> float:
        template = _template(shape)
        return float((mask & template).sum() / (mask | template).sum())

    return max(SHAPES, key=overlap)


@cache
def _template(shape: str) -> Mask:
    picture = np.asarray(draw("white", shape, "black"))
    mask = _cut_out(picture[:, :, 0] > 127)
    assert mask is not None
    return mask


def _star(corners: int, outer: float, inner: float | None = None) -> list[tuple[float, float]]:
    radii = [outer] if inner is None else [outer, inner]
    steps = corners * len(radii)
    angles = [-math.pi / 2 + 2 * math.pi * step / steps for step in range(steps)]
    return [
        (radii[step % len(radii)] * math.cos(angle), radii[step % len(radii)] * math.sin(angle))
        for step, angle in enumerate(angles)
    ]


def _heart() -> list[tuple[float, float]]:
    points = []
    for step in range(28):
        t = 2 * math.pi * step / 28
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((x / 16, -(y + 2.5) / 15))
    return points


_ARM = 0.36
# The corners of each shape about the origin, y downwards, at most about 1 away from it.
_OUTLINES: dict[str, list[tuple[float, float]]] = {
    "circle": _star(64, 1),
    "square": [(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)],
    "triangle": [(0, -0.95), (1, 0.8), (-1, 0.8)],
    "star": _star(5, 1.08, 0.45),
    "heart": _heart(),
    "cross": [
        (-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM),
        (_ARM, 1), (-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM),
    ],
}  # fmt: skip
