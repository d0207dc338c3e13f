"""The weights that a request gives to the LoRA adapters of a model, as GPUStack's servers take them.

Those of stable-diffusion.cpp write `path` and `multiplier`.
"""

import json
from collections.abc import Mapping
from typing import Any

from heliograph_api.errors import APIError, invalid_request
from heliograph_api.values import as_bool, as_float, as_text

MAX_LORAS = 64
MAX_WEIGHT = 10.0
MAX_NAME = 256

_NAMES = ("id", "name", "path")
_WEIGHTS = ("scale", "multiplier")


def as_loras(content: Mapping[str, Any], name: str) -> tuple[tuple[str, float], ...]:
    """Return name, or place as digits, and weight of each adapter of a list; a form has the list as JSON text.

    Raises:
        APIError: 400, it is no such list.
    """
    value = content.get(name)
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise _no_list(name) from None
    if value is None or value == "":
        return ()
    if not isinstance(value, list) or len(value) > MAX_LORAS:
        raise _no_list(name)
    return tuple(_lora(name, entry) for entry in value)


def _lora(name: str, entry: Any) -> tuple[str, float]:
    if not isinstance(entry, Mapping):
        raise _no_list(name)
    try:
        identifier = _identifier(entry)
        weights = [as_float(entry, key, least=-MAX_WEIGHT, most=MAX_WEIGHT) for key in _WEIGHTS]
        high_noise = as_bool(entry, "is_high_noise")
    except APIError as error:
        raise invalid_request(name, f"{error.message}") from None
    if not identifier:
        raise _no_list(name)
    if high_noise:
        raise invalid_request(
            name, "is_high_noise: an adapter is for all steps here; leave it out.", code="unsupported"
        )
    return identifier, next((weight for weight in weights if weight is not None), 1.0)


def _identifier(entry: Mapping[str, Any]) -> str | None:
    place = entry.get("id")
    if isinstance(place, int) and not isinstance(place, bool):
        return str(place) if 0 <= place < MAX_LORAS else None
    return next((as_text(entry, key, most=MAX_NAME) for key in _NAMES if entry.get(key)), None)


def _no_list(name: str) -> APIError:
    return invalid_request(
        name, f'must be a list of at most {MAX_LORAS} entries such as {{"id": "style", "scale": 0.8}}.'
    )
