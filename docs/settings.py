"""Writes settings.md, the environment variables of each part, from its class of settings.

Run `make generate` after a change of one of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from heliograph.settings_command import alternatives, variable
from heliograph_gateway.settings import GatewaySettings
from heliograph_operator.settings import OperatorSettings
from heliograph_runtime.settings import RuntimeSettings
from heliograph_runtime.weights.collecting.settings import CollectSettings
from heliograph_runtime.weights.settings import FetchSettings
from tables import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic.fields import FieldInfo
    from pydantic_settings import BaseSettings

TARGET = Path(__file__).with_name("settings.md")
INTRODUCTION = """\
# Settings

<!-- Written by docs/settings.py from the settings classes of each part; edit their docstrings instead. -->

Every setting of a part is an environment variable, and an option of its subcommand but for those that are secret:
`heliograph gateway --help` lists the gateway's. What is given on the command line wins. Truth is `true` or `false`, and
a list has commas.

In a cluster the chart sets them from its [values](values.md), which are where to change one.
"""
SECTIONS: tuple[tuple[str, type[BaseSettings], str], ...] = (
    (
        "The gateway",
        GatewaySettings,
        """\
`gateway.env` in the chart's values takes those that no value is for, and refuses what the chart sets itself;
`HELIOGRAPH_GATEWAY_ALLOWED_HOSTS` adds to what the chart knows.
`heliograph serve` reads them too, for the gateway in it.""",
    ),
    (
        "The runtime",
        RuntimeSettings,
        """\
`heliograph serve` hands them on to each of its runtimes. In a cluster the operator sets what a pod needs, and the chart
has no value for the rest: what a model may decide is in its spec.""",
    ),
    (
        "The operator",
        OperatorSettings,
        "The chart sets all that a cluster needs. `heliograph plan` reads them too.",
    ),
    (
        "The fetcher",
        FetchSettings,
        """\
`weights.env` in the chart's values takes those that the operator does not set, and the variables of the sources
([weights.md](weights.md#fetching)).""",
    ),
    ("The collector of old weights", CollectSettings, "The operator sets them."),
)
"""Title, settings and introduction of each part."""


def reference() -> str:
    """Return the text of settings.md.

    Raises:
        ValueError: When a setting has no docstring.
    """
    return "\n".join([INTRODUCTION, *(line for section in SECTIONS for line in _section(*section))])


def _section(title: str, settings: type[BaseSettings], note: str) -> Iterator[str]:
    rows = (_row(variable(settings, name), field) for name, field in settings.model_fields.items())
    yield f"## {title}\n\n{note}\n\n{table(('variable', 'type', 'default', 'meaning'), rows)}\n"


def _row(name: str, field: FieldInfo) -> Sequence[str]:
    if not field.description:
        raise ValueError(f"{name}: has no docstring; write below the field what it is for")
    return f"`{name}`", _kind(field.annotation), _default(field), " ".join(field.description.split())


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.default
    if default is PydanticUndefined or default is None or default in ("", (), {}):
        return ""
    return f"`{_written(default)}`"


def _written(value: Any) -> str:
    """Return a value as the variable takes it."""
    match value:
        case BaseModel():
            return value.model_dump_json(exclude_none=True, by_alias=True)
        case Mapping() | bool():
            return json.dumps(dict(value) if isinstance(value, Mapping) else value)
        case tuple():
            return ",".join(value)
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def _kind(annotation: Any) -> str:
    """Return in words how a value is written."""
    kind, *_ = alternatives(annotation)
    origin = get_origin(kind) or kind
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(kind))
    for types, word in (
        (bool, "truth"),
        (int, "integer"),
        (float, "number"),
        (tuple, "list"),
        ((Mapping, BaseModel), "JSON"),
    ):
        if isinstance(origin, type) and issubclass(origin, types):
            return word
    return "path" if kind is Path else "text"


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
