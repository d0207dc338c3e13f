"""What one engine answers otherwise than the other, each with its reason; all else is the same over both.

The engines are those of `models.SPECS`: diffusers with Stable Diffusion 1, sdcpp with FLUX.1 [dev]. Most differences
are those of the two families. Whatever an engine lacks is a 400, which the tests expect.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from contract.models import EngineName
from contract.rows import CHANGED, CIRCLE, CONTROLLED, LEFT, RIGHT, ROWS, STAR, Row
from heliograph_api import sampler_table

T = TypeVar("T")


@dataclass(frozen=True)
class Difference(Generic[T]):
    """What a test expects of each engine.

    Attributes:
        why: Why it is not the same.
        diffusers: What it expects of diffusers.
        sdcpp: What it expects of stable-diffusion.cpp.
    """

    why: str
    diffusers: T
    sdcpp: T

    def of(self, engine: EngineName) -> T:
        """Return what a test expects of an engine."""
        return self.diffusers if engine == "diffusers" else self.sdcpp


_NO_CONTROL = "stable-diffusion.cpp has ControlNets for Stable Diffusion 1 and 2 alone"
_DISTILLED = "FLUX.1 [dev] was distilled with a guidance, and has a true scale beside it"

_ONE_STEP = "a flow model takes the first of its steps from noise alone, and sees nothing of a picture with one step"

DIFFERENT_ROWS: Mapping[str, Difference[Row]] = {
    "negative_prompt": Difference(
        "the scale of `plain` is 1 for FLUX.1 [dev], as it is meant to be: a negative prompt has no effect then",
        diffusers=Row("red", "white background"),
        sdcpp=Row("red", "white background", given={"cfg_scale": 3}),
    ),
    # Where a model has no use for a field, what shows is that a value that can't be used is refused.
    "guidance": Difference(_DISTILLED, diffusers=Row(100.5, refused=True, disagree=(1, 2)), sdcpp=Row(2.5, 8)),
    "true_cfg_scale": Difference(_DISTILLED, diffusers=Row(2.5, refused=True), sdcpp=Row(2.5, 8)),
    "size": Difference(
        "without a size FLUX.1 draws 1024x1024 pixels, but for a limit",
        diffusers=Row("48x32", "32x48"),
        sdcpp=Row("48x32", "32x48", model="adapted"),
    ),
    "image": Difference(
        _ONE_STEP,
        diffusers=Row(CIRCLE, STAR),
        sdcpp=Row(CIRCLE, STAR, given={"steps": 4, "strength": 0.5}),
    ),
    "sampler": Difference(
        "the sampler of its own is Euler's for FLUX.1, and DDIM for the tiny model",
        diffusers=Row("euler", "heun", given={"steps": 2}),
        sdcpp=Row("dpmpp_2m", "heun", given={"steps": 3}),
    ),
    "clip_skip": Difference(
        "FLUX.1 has T5 beside CLIP, and takes nothing but the pooled output of the latter",
        diffusers=Row(1),
        sdcpp=Row(1, refused=True),
    ),
    "loras": Difference(
        "the adapters have names of their own",
        diffusers=Row([{"id": "lora_green", "scale": 1}], [{"id": 0, "scale": 2}], model="adapted"),
        sdcpp=Row([{"id": "kohya", "scale": 1}], [{"id": 0, "scale": 2}], model="adapted"),
    ),
    "control_image": Difference(
        _NO_CONTROL,
        diffusers=Row(LEFT, RIGHT, model="adapted"),
        sdcpp=Row(LEFT, refused=True, disagree=(LEFT, RIGHT), model="adapted"),
    ),
    "control_strength": Difference(
        _NO_CONTROL,
        diffusers=Row(0.5, 2, given=CONTROLLED, model="adapted"),
        sdcpp=Row(100.5, refused=True, disagree=(1, 2), model="adapted"),
    ),
    "scale": Difference(
        "stable-diffusion.cpp may enlarge with a model, which makes what it enlarges negative in this miniature",
        diffusers=Row(3, 4, given=CHANGED, path="/v1/images/upscale"),
        sdcpp=Row(3, 4, given=CHANGED, path="/v1/images/upscale", model="adapted"),
    ),
}


def rows_of(engine: EngineName) -> Mapping[str, Row]:
    """Return the row of every field for an engine."""
    return {**ROWS, **{name: difference.of(engine) for name, difference in DIFFERENT_ROWS.items()}}


OWN_SAMPLER = Difference(
    "the sampler of its own is Euler's for FLUX.1, and what its files name for the tiny model",
    diffusers="ddim",
    sdcpp="euler",
)
FAMILY_GUIDANCE = Difference(
    "the scale of the family; FLUX.1 [dev] has the guidance that it was distilled with in its place",
    diffusers=9,
    sdcpp=1,
)
ROUNDED: Difference[Mapping[tuple[int, int], tuple[int, int]]] = Difference(
    "sides are multiples of 8 pixels in Stable Diffusion 1, of 16 in FLUX.1, which draws in patches of 2x2 latents",
    diffusers={},
    sdcpp={(104, 64): (96, 64), (72, 40): (80, 48), (80, 40): (80, 48), (48, 40): (48, 48), (184, 88): (176, 80)},
)
"""What other sizes are drawn for those that tests expect of diffusers."""
MOST_PICTURES = Difference(
    "FLUX.1 can see pictures beside the one that is drawn, whether its weights were trained for it or not",
    diffusers=1,
    sdcpp=10,
)
SAMPLERS = Difference(
    "the columns of the table; stable-diffusion.cpp runs all of its samplers on every family",
    diffusers=tuple(row.name for row in sampler_table.SAMPLERS if row.diffusers),
    sdcpp=tuple(row.name for row in sampler_table.SAMPLERS if row.sdcpp),
)
_NOT_AYS = [row for row in sampler_table.SCHEDULES if row.name != "ays"]
SCHEDULES = Difference(
    "the columns of the table; Align Your Steps was worked out for neither the tiny model nor FLUX.1",
    diffusers=tuple(row.name for row in _NOT_AYS if row.diffusers),
    sdcpp=tuple(row.name for row in _NOT_AYS if row.sdcpp),
)
ALIKE: Difference[tuple[set[str], ...]] = Difference(
    "DDIM is the trailing one in stable-diffusion.cpp, and that is Euler's method in a flow model",
    diffusers=({"euler", "discrete"}, {"sgm_uniform", "simple"}),
    sdcpp=({"euler", "discrete"}, {"sgm_uniform", "simple", "ddim", "ddim_trailing"}),
)
"""Samplers, and schedules of `euler`, that may draw the same in few steps."""
FIXED_SAMPLER = Difference(
    "stable-diffusion.cpp has no sampler whose formula fixes the noise levels",
    diffusers=("schedule", "leave the field out"),
    sdcpp=("sampler", "is not served by this model"),
)
"""Field and message of an error."""
