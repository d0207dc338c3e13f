"""Who makes a request, and what they may do."""

from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from starlette.types import Scope

from heliograph_api.errors import APIError

MODELS: Final = "models"
"""Scope: draw, list models, read one's own files, jobs and usage."""
ADMIN: Final = "admin"
"""Scope: metrics, all usage, the admin API, starting models."""
SCOPES = frozenset({MODELS, ADMIN})


@dataclass(frozen=True)
class Caller:
    """Who makes a request.

    Attributes:
        name: Name of the API key; nothing where no key is asked for.
        scopes: What the key may do, of `SCOPES`.
        models: Names and patterns of the models that the key is for; all of them when empty.
        images_per_day: How many pictures and clips the keys of this name may draw in a day; no limit when None.
    """

    name: str
    scopes: frozenset[str]
    models: tuple[str, ...] = ()
    images_per_day: int | None = None

    def may_use(self, names: Collection[str]) -> bool:
        """Return whether the key is for the model that goes by these names."""
        return not self.models or any(fnmatchcase(name, pattern) for pattern in self.models for name in names)


ANONYMOUS = Caller("", SCOPES)
"""Everybody, where the gateway has no keys: it then answers whoever can reach it."""


def caller_of(scope: Scope) -> Caller:
    """Return who makes the request that a scope belongs to."""
    caller: Caller = scope.get("state", {}).get("caller", ANONYMOUS)
    return caller


def require_scope(caller: Caller, *needed: str) -> None:
    """Raise `APIError` (403 `insufficient_scope`) unless a caller has one of these scopes of `SCOPES`."""
    if caller.scopes.isdisjoint(needed):
        raise APIError(
            403,
            f"The key '{caller.name}' lacks the scope '{needed[0]}' that this takes; use a key that has it.",
            code="insufficient_scope",
        )
