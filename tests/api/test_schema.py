"""From pydantic models to structural schemas, construct by construct."""

import datetime
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from heliograph_api.rules import Rule, SpecModel, matching
from heliograph_api.schema import SchemaError, structural_schema
from heliograph_api.spec import ImageModelSpec
from heliograph_api.status import ImageModelStatus

NAMED = {"x-kubernetes-validations": [{"rule": "self.matches(r'^([a-z]+)$')", "message": "must be a name"}]}


class Part(BaseModel):
    """A part."""

    size: int
    """Its size."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Tree(BaseModel):
    children: list["Tree"]


def schema_of(annotation: Any, **field: Any) -> dict[str, Any]:
    """Return the translated schema of a model's one field."""
    model = type("Model", (BaseModel,), {"__annotations__": {"field": annotation}, **field})
    schema: dict[str, Any] = structural_schema(model)["properties"]["field"]
    return schema


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (str, {"type": "string"}),
        (bool, {"type": "boolean"}),
        (int | None, {"type": "integer"}),
        (float | None, {"type": "number"}),
        (Literal["a"], {"type": "string", "enum": ["a"]}),
        (Literal["a", "b"] | None, {"type": "string", "enum": ["a", "b"]}),
        (Annotated[int, Field(ge=1, le=9)], {"type": "integer", "minimum": 1, "maximum": 9}),
        (Annotated[float, Field(gt=0)], {"type": "number", "minimum": 0, "exclusiveMinimum": True}),
        (Annotated[float, Field(lt=1)], {"type": "number", "maximum": 1, "exclusiveMaximum": True}),
        (Annotated[str, Field(min_length=1, max_length=9)], {"type": "string", "minLength": 1, "maxLength": 9}),
        (Annotated[str, Field(pattern="^a$")], {"type": "string", "pattern": "^a$"}),
        (Annotated[list[str], Field(max_length=9)], {"type": "array", "items": {"type": "string"}, "maxItems": 9}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (dict[str, Any], {"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
        (Annotated[str, matching("[a-z]+", "must be a name")], {"type": "string", **NAMED}),
        (
            list[Annotated[str, matching("[a-z]+", "must be a name")]] | None,
            {"type": "array", "items": {"type": "string", **NAMED}},
        ),
    ],
)
def test_a_field_is_translated(annotation: Any, schema: dict[str, Any]) -> None:
    assert schema_of(annotation) == schema


def test_a_default_is_left_out() -> None:
    assert schema_of(int, field=3) == {"type": "integer"}
    assert schema_of(Part, field=Part(size=3))["properties"] == {
        "size": {"type": "integer", "description": "Its size."}
    }


def test_a_reference_is_replaced_by_what_it_refers_to() -> None:
    part: dict[str, Any] = {"type": "object", "required": ["size"], "description": "A part."}
    part["properties"] = {"size": {"type": "integer", "description": "Its size."}}
    assert schema_of(Part) == part
    assert schema_of(Part | None) == part
    assert schema_of(list[Part]) == {"type": "array", "items": part}
    assert schema_of(Annotated[Part, Field(description="This part.")]) == {**part, "description": "This part."}


def test_a_key_called_like_a_dropped_keyword_is_kept() -> None:
    class Book(BaseModel):
        title: str
        default: str

    assert set(structural_schema(Book)["properties"]) == {"title", "default"}


def test_a_description_is_one_line() -> None:
    class Described(BaseModel):
        """First line
        and second.

        Second paragraph.
        """

    assert structural_schema(Described)["description"] == "First line and second. Second paragraph."


def test_a_model_says_what_becomes_of_unknown_keys() -> None:
    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")

    class Closed(BaseModel):
        model_config = ConfigDict(extra="forbid")

    assert structural_schema(Open) == {
        "type": "object",
        "properties": {},
        "x-kubernetes-preserve-unknown-fields": True,
    }
    assert structural_schema(Closed) == {"type": "object", "properties": {}}


def test_rules_of_a_model_are_validations() -> None:
    class Ruled(SpecModel):
        RULES = (Rule(cel="has(self.a)", message="a is required", check=lambda self: self.a is not None, field="a"),)

        a: int | None = None

    assert structural_schema(Ruled)["x-kubernetes-validations"] == [
        {"rule": "has(self.a)", "message": "a is required", "fieldPath": ".a"}
    ]


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (int | str, "field: is a union of types"),
        (list[int | str] | None, r"field\[\]: is a union of types"),
        (dict[str, int | str], r"field\{\}: is a union of types"),
        (Any, "field: needs exactly one type"),
        (list[Any], r"field\[\]: needs exactly one type"),
        (None, "field: needs exactly one type"),
        (tuple[int, str], "field: prefixItems cannot be expressed"),
        (set[str], "field: uniqueItems cannot be expressed"),
        (datetime.date, "field: format cannot be expressed"),
        (Annotated[int, Field(multiple_of=8)], "field: multipleOf cannot be expressed"),
        (Annotated[int, Field(ge=0, gt=0)], "field: has both minimum and exclusiveMinimum"),
        (Tree, r"field.children\[\]: Tree contains itself"),
    ],
)
def test_what_cannot_be_expressed_is_named(annotation: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=f"^{message}"):
        schema_of(annotation)


def test_named_and_typed_unnamed_keys_exclude_each_other() -> None:
    class Both(BaseModel):
        __pydantic_extra__: dict[str, int]

        model_config = ConfigDict(extra="allow")

        a: int

    with pytest.raises(SchemaError, match=r"^the root: has both"):
        structural_schema(Both)


def nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            yield from nodes(schema[keyword], f"{path}[]")


@pytest.mark.parametrize("model", [ImageModelSpec, ImageModelStatus])
def test_every_field_of_an_imagemodel_is_described(model: type[BaseModel]) -> None:
    undescribed = [
        path
        for path, node in nodes(structural_schema(model), "")
        if not path.endswith("[]") and not node.get("description", "").endswith(".")
    ]
    assert undescribed == []


@pytest.mark.parametrize("model", [ImageModelSpec, ImageModelStatus])
def test_whatever_a_rule_may_go_over_is_bounded(model: type[BaseModel]) -> None:
    """The API server refuses a schema whose rules could take too long, and counts on the bounds for that."""
    bounds = {"string": ("maxLength", "enum"), "array": ("maxItems",)}
    unbounded = [
        path
        for path, node in nodes(structural_schema(model), "")
        if not any(bound in node for bound in bounds.get(node["type"], ("type",)))
    ]
    assert unbounded == []
