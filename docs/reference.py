"""Writes imagemodel.md, the reference of ImageModel's fields, from the schema that the API server enforces.

Run `make generate` after a change of the models in `heliograph_api`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from heliograph_api import naming
from heliograph_api.crd import custom_resource_definition

if TYPE_CHECKING:
    from collections.abc import Iterator

Schema = dict[str, Any]

TARGET = Path(__file__).with_name("imagemodel.md")
INTRODUCTION = f"""\
# ImageModel

<!-- Written by docs/reference.py from the schema; edit the docstrings in heliograph_api instead. -->

`apiVersion: {naming.API_VERSION}`, `kind: {naming.KIND}`, short name `{naming.SHORT_NAMES[0]}`; namespaced.
`spec` is LocalAI's model YAML word for word, plus `serving`, which holds all that is Kubernetes'. Keys that are not
listed here are kept, have no effect and are named in `status.warnings`.

All keys are optional, except where the type says otherwise. The API server and `heliograph serve` refuse the same
manifests. `kubectl explain imagemodel.spec` prints the same texts. What an engine cannot do with a key is in
`status.warnings`, or is refused with the reason; the pages of the engines, [diffusers](diffusers.md) and
[stable-diffusion.cpp](sdcpp.md), say what each of them does.
"""


def reference() -> str:
    """Return the text of imagemodel.md."""
    (version,) = custom_resource_definition()["spec"]["versions"]
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    sections = [*_sections("spec", properties["spec"]), *_sections("status", properties["status"])]
    return "\n".join([INTRODUCTION, *sections])


def _sections(path: str, schema: Schema) -> Iterator[str]:
    """Yield the section of an object, then those of the objects within it."""
    lines = [f"## {path}", "", schema.get("description", ""), "", "| key | type | meaning |", "|---|---|---|"]
    required = schema.get("required", ())
    for key, child in schema["properties"].items():
        notes = (
            [", required"]
            if key in required
            else [f", {child['default']} unless given"]
            if child.get("default")
            else []
        )
        kind = "".join([_kind(child), *notes])
        lines.append(f"| `{key}` | {kind} | {_cell(child.get('description', ''))} |")
    rules = [f"- `{rule['fieldPath'][1:]}`: {rule['message']}" for rule in schema.get("x-kubernetes-validations", ())]
    if rules:
        lines += ["", "Rules:", "", *rules]
    yield "\n".join([*lines, ""])
    for key, child in schema["properties"].items():
        if "properties" in child:
            yield from _sections(f"{path}.{key}", child)
        elif "properties" in child.get("items", {}):
            yield from _sections(f"{path}.{key}[]", child["items"])


def _kind(schema: Schema) -> str:
    """Return a field's type and bounds in words."""
    if "enum" in schema:
        return " or ".join(f"`{value}`" if value != "" else "empty" for value in schema["enum"])
    match schema["type"]:
        case "array":
            most = f", at most {schema['maxItems']}" if "maxItems" in schema else ""
            return f"list of {_kind(schema['items'])}{most}"
        case "object" if "additionalProperties" in schema:
            return f"map to {_kind(schema['additionalProperties'])}"
        case "integer" | "number" as kind:
            return f"{kind}{_range(schema)}"
        case _:
            return str(schema["type"])


def _range(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is None and most is None:
        return ""
    if most is None:
        return f", {least:g} or more" if least is not None else ""
    return f", at most {most}" if least is None else f", {least:g} to {most}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
