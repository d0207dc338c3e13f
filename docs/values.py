"""Writes values.md, the reference of the charts' values, from the comments in each values.yaml and its schema.

Run `make generate` after a change of either.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

Schema = dict[str, Any]

CHARTS = Path(__file__).resolve().parents[1] / "charts"
TARGET = Path(__file__).with_name("values.md")
INTRODUCTION = """\
# Values of the charts

<!-- Written by docs/values.py from charts/*/values.yaml and values.schema.json; edit the comments there instead. -->

What may be set at installation, with `--set gateway.logFormat=json` or in a file that `--values` names. helm checks
each value against the chart's schema before anything is installed, and a name that the chart does not know is an error.
[install.md](install.md#on-kubernetes) tells how to install the charts, and [kubernetes.md](kubernetes.md) when to set
what.
"""
_ABOUT = {
    "heliograph": "The operator and the gateway.",
    "heliograph-crds": "The CustomResourceDefinition of ImageModels.",
    "heliograph-models": "A catalogue of models, each to be turned on by name; [models.md](models.md) lists them.",
}
_EXAMPLE = "   "
"""What the lines of an example begin with, after the comment's sign."""


@dataclass(frozen=True)
class Value:
    """A key of values.yaml.

    Attributes:
        path: Its name with those of the objects that it is in, as `--set` takes it.
        kind: Type and bounds in words; empty for an object whose keys have entries of their own.
        default: Its value, as YAML on one line.
        meaning: Its comment.
        example: The lines of the comment that are YAML.
    """

    path: str
    kind: str
    default: str
    meaning: str
    example: str


def reference() -> str:
    """Return the text of values.md.

    Raises:
        ValueError: When a value has no comment, or the schema does not know it.
    """
    return "\n".join([INTRODUCTION, *(line for chart in _ABOUT for line in _chart(chart))])


def values(chart: str) -> list[Value]:
    """Return all values of a chart, in the order of its values.yaml."""
    text = (CHARTS / chart / "values.yaml").read_text(encoding="utf-8")
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text(encoding="utf-8"))
    return list(_Reader(text.splitlines(), schema).read(yaml.compose(text) or yaml.MappingNode("", []), schema, ""))


def _chart(chart: str) -> Iterator[str]:
    yield f"## {chart}\n\n{_ABOUT[chart]}\n"
    found = values(chart)
    tops = [value for value in found if "." not in value.path]
    plain = [value for value in tops if value.kind]
    if plain:
        yield from _table(plain)
    for top in tops:
        if not top.kind:
            yield f"### {top.path}\n\n{_linked(top.meaning)}\n"
            yield from _table([value for value in found if value.path.startswith(f"{top.path}.")])


def _table(rows: list[Value]) -> Iterator[str]:
    yield "| value | type | default | meaning |\n|---|---|---|---|"
    for row in rows:
        default = f"`{_cell(row.default)}`" if row.kind else ""
        yield f"| `{row.path}` | {_cell(row.kind)} | {default} | {_cell(row.meaning)} |"
    yield ""
    for row in rows:
        if row.example:
            yield f"An example of `{row.path}`:\n\n```yaml\n{row.path}:\n{row.example}\n```\n"


class _Reader:
    """Reads the keys of one values.yaml, with the comments above them."""

    def __init__(self, lines: list[str], schema: Schema) -> None:
        self._lines = lines
        self._definitions = schema.get("definitions", {})

    def read(self, node: yaml.Node, schema: Schema, path: str) -> Iterator[Value]:
        """Yield the keys of an object, each followed by those within it."""
        for key, value in node.value:
            name = f"{path}{key.value}"
            if key.value not in schema["properties"]:
                raise ValueError(f"{name}: values.schema.json does not have it")
            child = schema["properties"][key.value]
            inner = "properties" in child
            meaning, example = self._comment(key.start_mark.line)
            if not meaning:
                raise ValueError(f"{name}: has no comment in values.yaml; write above it what it is for")
            default = yaml.safe_dump(
                yaml.safe_load(yaml.serialize(value)), default_flow_style=True, width=10_000, sort_keys=False
            )
            yield Value(
                path=name,
                kind="" if inner else self._kind(child),
                default=default.removesuffix("...\n").strip(),
                meaning=meaning,
                example=example,
            )
            if inner:
                yield from self.read(value, child, f"{name}.")

    def _comment(self, line: int) -> tuple[str, str]:
        """Return the text and the example of the comment that ends above a line."""
        first = line
        while first and self._lines[first - 1].lstrip().startswith("#"):
            first -= 1
        lines = [text.lstrip().removeprefix("#") for text in self._lines[first:line]]
        said = [text.strip() for text in lines if not text.startswith(_EXAMPLE)]
        return " ".join(said), "\n".join(text[1:] for text in lines if text.startswith(_EXAMPLE))

    def _kind(self, schema: Schema) -> str:
        """Return a value's type and bounds in words."""
        if "$ref" in schema:
            return self._kind(self._definitions[schema["$ref"].rpartition("/")[2]])
        if "enum" in schema:
            return " or ".join(f"`{value}`" if value != "" else "empty" for value in schema["enum"])
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        return " or ".join(self._plain(kind, schema) for kind in kinds)

    def _plain(self, kind: str, schema: Schema) -> str:
        match kind:
            case "array":
                return f"list of {self._kind(schema['items'])}"
            case "object" if "additionalProperties" in schema and schema["additionalProperties"] is not False:
                return f"map to {self._kind(schema['additionalProperties'])}"
            case "integer" | "number":
                return f"{kind}{_range(schema)}"
            case _:
                return kind


def _range(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if most is None:
        return "" if least is None else f", {least:g} or more"
    return f", {least} to {most}"


def _cell(text: str) -> str:
    return _linked(text).replace("|", "\\|")


def _linked(text: str) -> str:
    """Return a text with links in place of the names of pages."""
    return re.sub(r"\bdocs/(\w+\.md)", r"[\1](\1)", text)


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
