"""Rules on a field that hold in two places: pydantic checks them here, the API server checks their CEL form.

A `Rule` in an `Annotated` type adds a validator and an `x-kubernetes-validations` entry, so that neither side
can forget it; the golden manifests in tests/ show both sides refuse the same input.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

VALIDATIONS = "x-kubernetes-validations"


@dataclass(frozen=True)
class Rule:
    """One condition on a value.

    Attributes:
        cel: The condition as a CEL expression over `self`.
        message: What is wrong and what to write instead; must not contain a newline.
        check: The same condition in Python; false means refused.
        field: For a rule on a whole object, the field to blame.
    """

    cel: str
    message: str
    check: Callable[[Any], bool]
    field: str = ""

    def validation(self) -> dict[str, str]:
        """Return the entry for `x-kubernetes-validations`."""
        entry = {"rule": self.cel, "message": self.message}
        return {**entry, "fieldPath": f".{self.field}"} if self.field else entry

    def enforce(self, value: Any) -> Any:
        """Return `value`, or raise pydantic's error with this rule's message and field."""
        if not self.check(value):
            raise PydanticCustomError("rule", "{message}", {"message": self.message, "field": self.field})
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.enforce, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        json_schema = handler(schema)
        json_schema.setdefault(VALIDATIONS, []).append(self.validation())
        return json_schema


def matching(pattern: str, message: str) -> Rule:
    """Return the rule that a string as a whole matches `pattern`.

    It is a rule instead of the schema's `pattern`, because there the API server's message would be the pattern alone.

    Args:
        pattern: A regular expression that RE2 and Python's `re` read alike, without a single quote.
        message: What a value that does not match must look like.
    """
    whole = re.compile(pattern)
    return Rule(
        cel=f"self.matches(r'^({pattern})$')", message=message, check=lambda value: bool(whole.fullmatch(value))
    )


def keys_matching(pattern: str, message: str) -> Rule:
    """Return the rule that every key of a map as a whole matches `pattern`; the arguments are those of `matching`."""
    whole = re.compile(pattern)
    return Rule(
        cel=f"self.all(key, key.matches(r'^({pattern})$'))",
        message=message,
        check=lambda value: all(whole.fullmatch(key) for key in value),
    )


class SpecModel(BaseModel):
    """Base of the typed parts of an ImageModel: strict types, immutable, rules on the whole object in `RULES`.

    Types are strict because the API server's are: `step: "30"` is refused there, so it is refused here.
    """

    model_config = ConfigDict(
        strict=True, frozen=True, extra="ignore", use_attribute_docstrings=True, allow_inf_nan=False
    )

    RULES: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _enforce_rules(self) -> Self:
        for rule in self.RULES:
            rule.enforce(self)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        json_schema = handler.resolve_ref_schema(handler(schema))
        if cls.RULES:
            json_schema[VALIDATIONS] = [rule.validation() for rule in cls.RULES]
        return json_schema


class OpenModel(SpecModel):
    """A part that keeps keys it does not know, as LocalAI's non-strict YAML reader does."""

    model_config = ConfigDict(extra="allow")

    @property
    def unknown_keys(self) -> list[str]:
        """Return the keys that were given and have no field here."""
        return sorted(self.__pydantic_extra__ or {})
