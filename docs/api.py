"""Writes api.md, the reference of the HTTP API, from the tables that read the requests.

Run `make generate` after a change of `heliograph_api.images`, or of what the gateway tells of models.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from heliograph_api.capabilities import ModelCapabilities
from heliograph_api.error_codes import CODES
from heliograph_api.images.extra_args import BLOCK_FIELDS, BLOCK_REFUSED, YIELDING
from heliograph_api.images.fields import (
    ANSWER_FIELDS,
    INPUT_FIELDS,
    PROMPT_FIELDS,
    REFUSED,
    SAMPLING_FIELDS,
    VIDEO_FIELDS,
    WITHOUT_EFFECT,
    Field,
)
from heliograph_api.images.inputs import FORMATS
from heliograph_api.images.paths import ENDPOINTS, PREFIXES, VIDEO_PATH
from heliograph_api.samplers import sampler_rows, schedule_rows
from heliograph_gateway.admin.survey import Replica, SurveyedModel
from heliograph_gateway.models.states import ModelState
from tables import listed, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import BaseModel

TARGET = Path(__file__).with_name("api.md")
TEXT = Path(__file__).with_name("api.template.md")

_MEANINGS = {
    "generate": "pictures from text; with a picture, that picture changed",
    "edit": "pictures changed, or composed of several",
    "variation": "variations of a picture",
    "inpaint": "the masked part of a picture drawn anew",
    "upscale": "a picture enlarged",
}


def reference() -> str:
    """Return the text of api.md: the template with its tables filled in."""
    sampler_head = (
        "name", "LocalAI", "stable-diffusion.cpp", "AUTOMATIC1111", "diffusers", "diffusers, flow models", "sdcpp"
    )  # fmt: skip
    parts = {
        "paths": table(("path behind a prefix", "answer"), _path_rows()),
        "prefixes": ", ".join(f"`{prefix}`" if prefix else "none" for prefix in PREFIXES),
        "video_path": VIDEO_PATH,
        "prompt_fields": _fields(PROMPT_FIELDS),
        "sampling_fields": _fields(SAMPLING_FIELDS),
        "extra_args": table(
            ("setting", "field"), ((f"`{setting}`", f"`{name}`") for setting, name in BLOCK_FIELDS.items())
        ),
        "extra_args_yielding": listed(name for name in BLOCK_FIELDS.values() if name in YIELDING),
        "extra_args_refused": listed(BLOCK_REFUSED),
        "input_fields": _fields(INPUT_FIELDS),
        "video_fields": _fields(VIDEO_FIELDS),
        "answer_fields": _fields(ANSWER_FIELDS),
        "formats": ", ".join(FORMATS),
        "without_effect": listed(WITHOUT_EFFECT),
        "refused": table(("field", "what to do instead"), ((f"`{name}`", remedy) for name, remedy in REFUSED.items())),
        "samplers": table(sampler_head, sampler_rows()),
        "schedules": table(
            ("name", "AUTOMATIC1111", "diffusers", "diffusers, flow models", "sdcpp"),
            schedule_rows(),
        ),
        "error_codes": table(("code", "status", "meaning", "try again"), _code_rows()),
        "model_state": _attributes(ModelState),
        "model_capabilities": _attributes(ModelCapabilities),
        "admin_model": _attributes(SurveyedModel),
        "admin_replica": _attributes(Replica),
    }
    text = TEXT.read_text(encoding="utf-8")
    for name, part in parts.items():
        place = f"{{{{ {name} }}}}"
        if place not in text:
            raise ValueError(f"{TEXT.name} has no place for {name}")
        text = text.replace(place, part)
    return text


def _path_rows() -> Iterable[Sequence[str]]:
    return ((f"`{path}`", _MEANINGS[operation]) for path, operation in ENDPOINTS.items())


def _code_rows() -> Iterable[Sequence[str]]:
    again = {"no": "no", "yes": "yes", "later": "after a change"}
    return ((f"`{row.code}`", ", ".join(map(str, row.statuses)), row.meaning, again[row.again]) for row in CODES)


def _fields(fields: Sequence[Field]) -> str:
    rows = ((f"`{field.name}`", listed(field.also), field.takes.words, field.meaning) for field in fields)
    return table(("field", "also called", "takes", "meaning"), rows)


def _attributes(model: type[BaseModel]) -> str:
    rows = ((f"`{name}`", " ".join((field.description or "").split())) for name, field in model.model_fields.items())
    return table(("field", "meaning"), rows)


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
