"""What entries of the spec's `options` have in common for all engines."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from heliograph_runtime.engines.protocol import LoadError

_TRUTH: Mapping[str, bool] = {"true": True, "1": True, "false": False, "0": False}


def read_truth(text: str) -> bool:
    """Return what a text says that is true or false; raise `ValueError` for any other."""
    if text.lower() not in _TRUTH:
        raise ValueError(text)
    return _TRUTH[text.lower()]


def unknown_option(name: str, known: Iterable[str], *, whose: str) -> LoadError:
    """Return the error for an option that is none, with those of a like name.

    Args:
        name: The option.
        known: The options that there are.
        whose: What they are options of.
    """
    near = get_close_matches(name, sorted(known), n=2)
    remedy = f"write {' or '.join(near)}, or remove it" if near else "remove it, or correct its spelling"
    return LoadError("InvalidSpec", f"options: {name} is no option of {whose}; {remedy}")
