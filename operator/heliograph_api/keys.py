"""Keys of a raw spec that the ImageModel does not know, wherever they are."""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from heliograph_api.complaints import did_you_mean, field_path
from heliograph_api.schema import JSONSchema, structural_schema
from heliograph_api.spec import ImageModelSpec

_LONGEST_SHOWN = 128


@dataclass(frozen=True)
class UnknownKey:
    """A key that has no field here.

    Attributes:
        path: The key as a user writes it: `spec.diffusers.clip_skips`.
        name: The key alone.
        parent: Path of the object that it stands in, without indices: `spec.diffusers`, `spec.artifacts.source`.
        suggestion: Path of what was probably meant, if something comes near.
    """

    path: str
    name: str
    parent: str
    suggestion: str | None

    @property
    def hint(self) -> str:
        """The suggestion as the end of a sentence; empty without one."""
        return f"; did you mean {self.suggestion}?" if self.suggestion else ""


def unknown_keys(raw_spec: Mapping[str, Any]) -> list[UnknownKey]:
    """Return the unknown keys of a raw spec, the root's first, each with what was probably meant by it.

    That is the same spelling elsewhere in the spec (`scheduler_type` at the root belongs under `diffusers`), else the
    nearest one beside it.
    """
    return list(_unknown(raw_spec, _schema(), ()))


def _unknown(value: Any, schema: JSONSchema, path: tuple[str | int, ...]) -> Iterator[UnknownKey]:
    if isinstance(value, Mapping) and "properties" in schema:
        known = schema["properties"]
        for key in value:
            if key not in known:
                yield _unknown_key(str(key), known, path)
        for key, child in known.items():
            if key in value:
                yield from _unknown(value[key], child, (*path, key))
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from _unknown(item, schema["items"], (*path, index))


def _unknown_key(key: str, known: JSONSchema, path: tuple[str | int, ...]) -> UnknownKey:
    shown = key if len(key) <= _LONGEST_SHOWN and key.isprintable() else f"{key[:16]!a}..."
    suggestion = _homes().get(key)
    if suggestion is None and (near := did_you_mean(key, known)):
        suggestion = field_path((*path, near))
    parent = field_path(part for part in path if isinstance(part, str))
    return UnknownKey(path=field_path((*path, shown)), name=key, parent=parent, suggestion=suggestion)


@functools.cache
def _schema() -> JSONSchema:
    return structural_schema(ImageModelSpec)


@functools.cache
def _homes() -> dict[str, str]:
    """Return the path of each key of the spec's four blocks; a key of the root goes before one of a block."""
    properties = _schema()["properties"]
    homes: dict[str, str] = {}
    for block in ("parameters", "diffusers", "serving"):
        homes |= {key: f"spec.{block}.{key}" for key in properties[block]["properties"] if key not in homes}
    return homes | {key: f"spec.{key}" for key in properties}
