"""The weights that a request gives to the LoRA adapters of a model."""

from collections.abc import Iterable

from heliograph_api.errors import invalid_request


def lora_weights(wanted: Iterable[tuple[str, float]], names: tuple[str, ...], *, field: str) -> tuple[float, ...]:
    """Return one weight for each adapter of a model, 0 for one that is not named; weights of one name add up.

    Args:
        wanted: Name of an adapter, with or without the ending of its file, or its place as digits; and its weight.
        names: The model's adapters.
        field: Field that names them, for errors.

    Raises:
        APIError: 400, the model has no such adapter.
    """
    weights = dict.fromkeys(names, 0.0)
    for identifier, weight in wanted:
        weights[_find(identifier, names, field=field)] += weight
    return tuple(weights.values())


def _find(identifier: str, names: tuple[str, ...], *, field: str) -> str:
    name = identifier.removesuffix(".safetensors").removesuffix(".gguf")
    if name in names:
        return name
    if identifier.isdecimal() and int(identifier) < len(names):
        return names[int(identifier)]
    known = f"name one of {', '.join(names)}" if names else "it has none; name none"
    raise invalid_request(field, f"{identifier!r} is no LoRA adapter of this model; {known}.")
