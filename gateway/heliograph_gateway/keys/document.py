"""The keys document: which keys there are, by their SHA-256, and what each may do.

A document is YAML or JSON, a list under `keys` whose entries are read as `Key`, with the names of fields in camelCase.
No message of this module repeats a value: somebody may have written a key where it does not belong.
"""

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from heliograph_api.documents import read_documents
from heliograph_api.errors import SpecError
from heliograph_gateway.keys.caller import MODELS, Caller

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""Names of keys: they are in logs, metrics and the database."""
_OF_NOTHING = hashlib.sha256(b"").hexdigest()
_MOST_MODELS = 1000
_MOST_COUNT = 10**9


class KeysError(ValueError):
    """A keys document that cannot be used; the message names the entry, the field, the problem and the remedy."""


class Key(BaseModel):
    """One API key. Several may have one name, so that a key can be replaced without a gap: they count together."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    name: str
    sha256: str
    scopes: Annotated[tuple[Literal["models", "admin"], ...], Field(min_length=1, strict=False)] = (MODELS,)
    requests_per_minute: Annotated[int | None, Field(ge=1, le=_MOST_COUNT)] = None
    images_per_day: Annotated[int | None, Field(ge=1, le=_MOST_COUNT)] = None
    models: Annotated[tuple[str, ...], Field(max_length=_MOST_MODELS, strict=False)] = ()
    disabled: bool = False
    expires: datetime | None = None

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise ValueError("must be 1 to 63 letters, digits, dots, dashes and underscores, with no mark in front")
        return value

    @field_validator("sha256")
    @classmethod
    def _digest(cls, value: str) -> str:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", value):
            raise ValueError(
                "must be the SHA-256 of the key in 64 hexadecimal digits; `heliograph keys create` writes it"
            )
        if value.lower() == _OF_NOTHING:
            # What a shell writes where the variable with the key is not set; requests with an empty key would carry it.
            raise ValueError("is the SHA-256 of no text at all; hash the key itself")
        return value.lower()

    @field_validator("models")
    @classmethod
    def _patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(value):
            raise ValueError("must hold names or patterns such as team-a/*; leave it out to allow every model")
        return value

    @field_validator("expires", mode="before")
    @classmethod
    def _moment(cls, value: Any) -> datetime | None:
        if value is None or isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except (ValueError, TypeError):
            moment = None
        if moment and moment.tzinfo is None and len(value) == len("2026-12-31"):
            moment = moment.replace(tzinfo=UTC)
        if moment is None or moment.tzinfo is None:
            raise ValueError("must be a day, 2026-12-31, or a time with its zone, 2026-12-31T18:00:00Z")
        return moment

    @property
    def caller(self) -> Caller:
        """Return who makes the requests that carry this key."""
        return Caller(self.name, frozenset(self.scopes), self.models, self.images_per_day)

    def expired(self, now: datetime) -> bool:
        """Return whether the key's time is over; a day alone is its beginning in UTC."""
        return self.expires is not None and self.expires <= now


def digest_of(key: str | bytes) -> str:
    """Return the SHA-256 of a key in hexadecimal, as documents and the gateway know it."""
    return hashlib.sha256(key.encode() if isinstance(key, str) else key).hexdigest()


def parse_keys(text: str) -> list[Key]:
    """Return the keys of a document, which may be empty: then no key is valid.

    Raises:
        KeysError: The document is not one of keys.
    """
    try:
        documents = read_documents(text)
    except SpecError as error:
        raise KeysError(_without_excerpt(error.problem)) from None
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise KeysError("must be one document with a list under `keys`; write `keys: []` for none")
    (document,) = documents
    if unknown := [key for key in document if key != "keys"]:
        raise KeysError(f"has {len(unknown)} unknown field(s) beside `keys`; take them out")
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise KeysError("keys: must be a list; write `keys: []` for none")
    return distinct(_parse_entry(entry, place) for place, entry in enumerate(entries))


def distinct(keys: Iterable[Key]) -> list[Key]:
    """Return keys as a list; raise `KeysError` where two of them are the same key."""
    found: dict[str, Key] = {}
    for key in keys:
        if other := found.get(key.sha256):
            raise KeysError(f"sha256: '{other.name}' and '{key.name}' are one and the same key; keep one entry")
        found[key.sha256] = key
    return list(found.values())


def _parse_entry(entry: Any, place: int) -> Key:
    name = entry.get("name") if isinstance(entry, dict) else None
    shown = f" ({name})" if isinstance(name, str) and NAME.fullmatch(name) else ""
    if not isinstance(entry, dict):
        raise KeysError(f"keys[{place}]: must be a mapping with name and sha256")
    try:
        return Key.model_validate(entry)
    except ValidationError as error:
        item = error.errors(include_url=False, include_input=False, include_context=False)[0]
        if item["type"] == "extra_forbidden":
            known = ", ".join(to_camel(field) for field in Key.model_fields)
            raise KeysError(f"keys[{place}]{shown}: has a field that is unknown; those known are {known}") from None
        field = ".".join(str(part) for part in item["loc"])
        problem = item["msg"].removeprefix("Value error, ")
        raise KeysError(f"keys[{place}]{shown}.{field}: {problem[:1].lower()}{problem[1:]}") from None


def _without_excerpt(problem: str) -> str:
    """Return where a text is no YAML, without what stands there."""
    where = re.match(r"is not valid YAML in line \d+, column \d+", problem)
    return where.group() if where else "is not valid YAML or JSON, or has a key twice"
