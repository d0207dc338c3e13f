"""From pydantic models to the structural schemas that Kubernetes takes in a CustomResourceDefinition.

Kubernetes knows a part of OpenAPI v3 only: no references, no unions, one type at each node (KEP-2335). What pydantic
says in other words is translated; what cannot be said there is a `SchemaError`, never left out in silence.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from heliograph_api.rules import VALIDATIONS

JSONSchema = dict[str, Any]

PRESERVE_UNKNOWN = "x-kubernetes-preserve-unknown-fields"

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_KEPT = (
    "type", "enum", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties",
    "maxProperties", "pattern", "required", VALIDATIONS, "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
)  # fmt: skip
_TRANSLATED = (
    "description",
    "const",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "properties",
    "items",
    "additionalProperties",
)
# A title says nothing that the key does not. A default would be written into every stored object and stay there when a
# later version has another, so crd.py adds the few that are wanted.
_DROPPED = ("title", "default")


class SchemaError(ValueError):
    """A model that cannot be expressed as a structural schema.

    Attributes:
        path: The node at fault: `serving.tolerations[].key`; `{}` stands for the values of a map.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path or 'the root'}: {problem}")
        self.path = path


def structural_schema(model: type[BaseModel]) -> JSONSchema:
    """Return the structural schema of a model, keys by their aliases, descriptions from its docstrings.

    Raises:
        SchemaError: The model has something that Kubernetes has no word for; the message names the field.
    """
    schema = model.model_json_schema(by_alias=True)
    return _Translation(schema.pop("$defs", {})).node(schema, "", ())


class _Translation:
    """The translation of one model, whose nested models are in `definitions`."""

    def __init__(self, definitions: Mapping[str, JSONSchema]) -> None:
        self._definitions = definitions

    def node(self, schema: JSONSchema, path: str, within: tuple[str, ...]) -> JSONSchema:
        """Return the translation of a node; `within` names the models that it lies in."""
        if "$ref" in schema:
            name = schema["$ref"].removeprefix("#/$defs/")
            if name in within:
                raise SchemaError(path, f"{name} contains itself, and a structural schema cannot refer to a part of it")
            siblings = {key: value for key, value in schema.items() if key != "$ref"}
            return self.node({**self._definitions[name], **siblings}, path, (*within, name))
        if "anyOf" in schema:
            return self.node(_without_null(schema, path), path, within)
        _refuse_unknown_keywords(schema, path)
        translated = {
            "description": _one_paragraph(schema.get("description", "")),
            **{key: schema[key] for key in _KEPT if key in schema},
            **_values(schema),
            **self._children(schema, path, within),
        }
        if translated.get("type") not in _TYPES:
            raise SchemaError(path, "needs exactly one type; say what it holds")
        return {key: value for key, value in translated.items() if value != ""}

    def _children(self, schema: JSONSchema, path: str, within: tuple[str, ...]) -> JSONSchema:
        children: JSONSchema = {}
        if "properties" in schema:
            children["properties"] = {
                name: self.node(child, f"{path}.{name}".lstrip("."), within)
                for name, child in schema["properties"].items()
            }
        if "items" in schema:
            children["items"] = self.node(schema["items"], f"{path}[]", within)
        extra = schema.get("additionalProperties")
        if extra is True:
            children[PRESERVE_UNKNOWN] = True
        elif isinstance(extra, dict):
            if "properties" in schema:
                raise SchemaError(path, "has both named and typed unnamed keys, which exclude each other")
            children["additionalProperties"] = self.node(extra, f"{path}{{}}", within)
        # additionalProperties: false is what a structural schema means anyway: an unknown key is refused or pruned.
        return children


def _without_null(schema: JSONSchema, path: str) -> JSONSchema:
    """Return the other branch of `T | None`: a key that may be null may be absent, and null is pruned."""
    branches = [branch for branch in schema["anyOf"] if branch != {"type": "null"}]
    if len(branches) != 1:
        raise SchemaError(path, "is a union of types, of which a structural schema has none; give it one type")
    siblings = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**branches[0], **siblings}


def _values(schema: JSONSchema) -> JSONSchema:
    """Return the keywords that OpenAPI v3.0 spells in another way: a constant and open limits."""
    values: JSONSchema = {}
    if "const" in schema:
        values["enum"] = [schema["const"]]
    for limit in ("minimum", "maximum"):
        exclusive = f"exclusive{limit.capitalize()}"
        if exclusive in schema:
            values |= {limit: schema[exclusive], exclusive: True}
    return values


def _refuse_unknown_keywords(schema: JSONSchema, path: str) -> None:
    unknown = sorted(set(schema) - {*_KEPT, *_TRANSLATED, *_DROPPED})
    if unknown:
        raise SchemaError(path, f"{', '.join(unknown)} cannot be expressed in a structural schema")
    for limit in ("Minimum", "Maximum"):
        if f"exclusive{limit}" in schema and limit.lower() in schema:
            raise SchemaError(path, f"has both {limit.lower()} and exclusive{limit}; give one of them")


def _one_paragraph(text: str) -> str:
    return " ".join(text.split())
