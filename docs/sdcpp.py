"""Writes sdcpp.md, the guide to the stable-diffusion.cpp engine, from its tables and the names that its library knows.

Run `make generate` after a change of `heliograph_runtime.engines.sdcpp`; it needs the extra `sdcpp`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from heliograph_api.sampler_table import SAMPLERS, SCHEDULES
from heliograph_api.sdcpp_options import REFUSED
from heliograph_api.sdcpp_table import CHOICES, OPTIONS, PATHS, SWITCHES
from heliograph_runtime.engines.sdcpp import binding, known
from heliograph_runtime.engines.sdcpp.known import Clips, Family
from heliograph_runtime.engines.sdcpp.parts import OPTIONS as PART_OPTIONS
from tables import listed, table

if TYPE_CHECKING:
    from collections.abc import Sequence

TARGET = Path(__file__).with_name("sdcpp.md")
TEXT = Path(__file__).with_name("sdcpp.template.md")

_FROM = {"text": "text", "image": "a picture, the first frame"}
_NO_ENCODER = frozenset({"vae", "clip_vision"})


def reference() -> str:
    """Return the text of sdcpp.md: the template with its tables filled in."""
    families = _families()
    parts = {
        "families": table(
            ("family", "steps", "guidance scale", "size", "beside the diffusion model"),
            (_family_row(family) for family in families),
        ),
        "clips": table(
            ("family", "from", "last frame", "frames a second", "sides are multiples of"),
            (_clips_row(family.title, family.clips) for family in families if family.clips),
        ),
        "files": _options(PATHS),
        "switches": _options(SWITCHES),
        "choices": table(
            ("option", "what it says", "values"),
            ((f"`{name}`", OPTIONS[name], listed(values)) for name, values in _choices().items()),
        ),
        "others": _options(
            {name: about for name, about in OPTIONS.items() if name not in {*PATHS, *SWITCHES, *_choices()}}
        ),
        "refused": table(("option", "why"), ((f"`{name}`", reason) for name, reason in REFUSED.items())),
    }
    text = TEXT.read_text(encoding="utf-8")
    for name, part in parts.items():
        place = f"{{{{ {name} }}}}"
        if place not in text:
            raise ValueError(f"{TEXT.name} has no place for {name}")
        text = text.replace(place, part)
    return text


def _families() -> list[Family]:
    """Return every family once, in the order in which they are written."""
    found: dict[str, Family] = {}
    for value in vars(known).values():
        members = value.values() if isinstance(value, Mapping) else [value]
        found |= {member.name: member for member in members if isinstance(member, Family)}
    return list(found.values())


def _choices() -> dict[str, list[str]]:
    """Return the names that each option with a name for a value may have, as far as the library has them."""
    samplers, schedules = binding.names("sample_method"), binding.names("scheduler")
    return {
        "sampler": [row.name for row in SAMPLERS if row.sdcpp in samplers],
        "scheduler": ["default", *(row.name for row in SCHEDULES if row.sdcpp and row.name in schedules)],
        **{name: list(binding.names(kind)) for name, (kind, _) in CHOICES.items()},
    }


def _family_row(family: Family) -> Sequence[str]:
    defaults = family.defaults
    scale = f"{defaults.cfg_scale:g}" if defaults.guidance is None else f"{defaults.guidance:g}, distilled"
    return family.title, str(defaults.steps), scale, f"{defaults.width}x{defaults.height}", _needs(family)


def _clips_row(title: str, clips: Clips) -> Sequence[str]:
    last = "can be given" if clips.last_image else ""
    return title, " or ".join(_FROM[mode] for mode in clips.modes), last, str(clips.fps), str(clips.side_multiple)


def _needs(family: Family) -> str:
    if family.backbone == "unet":
        return "nothing: one checkpoint"
    encoders = listed(PART_OPTIONS[part] for part in family.needs if part not in _NO_ENCODER)
    others = listed(PART_OPTIONS[part] for part in family.needs if part in _NO_ENCODER)
    enough = " or ".join(" and ".join(f"`{PART_OPTIONS[part]}`" for part in group) for group in family.enough)
    return "; ".join(filter(None, (f"{enough}, at best {encoders}" if enough else encoders, others)))


def _options(options: Mapping[str, str]) -> str:
    return table(("option", "effect"), ((f"`{name}`", about) for name, about in options.items()))


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
