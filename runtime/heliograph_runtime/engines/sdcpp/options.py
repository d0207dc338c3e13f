"""`options` of the spec for this engine: `key:value` entries, split at their first colon, as LocalAI documents them.

Each option that LocalAI takes has its effect (`heliograph_api.sdcpp_table`), or is refused with the reason
(`heliograph_api.sdcpp_options`). What is taken and left alone is told in the model's warnings.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from heliograph_api.errors import APIError
from heliograph_api.sampler_table import SCHEDULES
from heliograph_api.samplers import resolve_sampling
from heliograph_api.sdcpp_options import PLACEMENTS, REFUSED, placed_switches, read_option
from heliograph_api.sdcpp_table import CHOICES, OPTIONS, PATHS, SWITCHES
from heliograph_runtime.engines.option_values import read_truth, unknown_option
from heliograph_runtime.engines.paths import inside
from heliograph_runtime.engines.protocol import LoadError
from heliograph_runtime.engines.sdcpp import binding
from heliograph_runtime.engines.sdcpp.tiling import Tiling, read_tile_size

_MOST_OVERLAP = 0.5
_MOST_COUNT = 65_536
_SCHEDULES = tuple(row.name for row in SCHEDULES if row.sdcpp)

T = TypeVar("T")


@dataclass(frozen=True)
class LoadOptions:
    """What `options` say.

    Attributes:
        paths: Files by option.
        fields: Fields of the library's context beside the files.
        model_is_diffusion_model: Whether parameters.model is a diffusion model alone.
        flow_shift: Shift of a flow model's schedule; None for the model's own.
        schedule: Canonical name of the schedule of a request that names none; None for the model's own.
        tiling: The VAE's tiles; None without tiles.
        lora_dir: Folder with adapters.
        embedding_dir: Folder with textual inversions.
        upscale_model: File of an ESRGAN model.
    """

    paths: Mapping[str, Path]
    fields: Mapping[str, Any]
    model_is_diffusion_model: bool
    flow_shift: float | None
    schedule: str | None
    tiling: Tiling | None
    lora_dir: Path | None
    embedding_dir: Path | None
    upscale_model: Path | None


class _Entries:
    """The spec's entries by key; of several with one key the last counts, and a key alone is true."""

    def __init__(self, options: Iterable[str], models_dir: Path) -> None:
        self._models_dir = models_dir
        self._values: dict[str, str] = {}
        switches: list[str] = []
        for option in options:
            key, colon, value = (part.strip() for part in option.partition(":"))
            kept = _followed(option, key)
            if kept is None:
                self._values.pop(key, None)
            elif key in PLACEMENTS:
                switches += placed_switches(kept)
            else:
                self._values[key] = value if colon else "true"
        self._values |= dict.fromkeys(switches, "true")

    def read(self, name: str, parse: Callable[[str], T], expected: str) -> T | None:
        """Return an entry's value, or None without an entry; raise `LoadError` when it is not what is expected."""
        if name not in self._values:
            return None
        try:
            return parse(self._values[name])
        except ValueError:
            raise LoadError(
                "InvalidSpec", f"options: {name} must be {expected}, not {self._values[name]!r}; correct or remove it"
            ) from None

    def switch(self, name: str) -> bool | None:
        """Return the value of an entry that is true or false."""
        return self.read(name, read_truth, "true or false")

    def path(self, name: str, *, folder: bool = False) -> Path | None:
        """Return the file or folder that an entry names; an empty value is no entry."""
        if not self._values.get(name):
            return None
        found = inside(self._values[name], models_dir=self._models_dir, field=f"options: {name}")
        if found.is_dir() != folder:
            kind = "folder" if folder else "file"
            raise LoadError("WeightsMissing", f"options: {name}: {self._values[name]} is no {kind}; name a {kind}")
        return found

    def choice(self, name: str, kind: binding.NameKind) -> int | None:
        """Return the library's number for the name that an entry has."""
        known = binding.names(kind)
        return self.read(name, lambda value: _number_of(value, known), f"one of {', '.join(known)}")


def read_options(options: Iterable[str], *, models_dir: Path) -> LoadOptions:
    """Return what the spec's options say.

    Args:
        options: Entries `key:value`.
        models_dir: Folder in which paths are looked up.

    Raises:
        LoadError: An option is not known, can have no effect, or its value is not one.
    """
    entries = _Entries(options, models_dir)
    fields: dict[str, Any] = {name: entries.switch(name) for name in SWITCHES}
    fields |= {name: entries.choice(name, kind) for name, (kind, _) in CHOICES.items()}
    fields["n_threads"] = entries.read("n_threads", _count, "a number of threads, 1 or more")
    fields["chroma_t5_mask_pad"] = entries.read("chroma_t5_mask_pad", _count, "a number of tokens, 1 or more")
    fields["max_vram"] = entries.read("max_vram", _size, "a number of GiB, 0 or more")
    fields["tensor_type_rules"] = entries.read("tensor_type_rules", _rules, "rules of the form REGEX=TYPE,REGEX=TYPE")
    paths = {name: entries.path(name) for name in PATHS}
    return LoadOptions(
        paths={name: path for name, path in paths.items() if path},
        fields={name: value for name, value in fields.items() if value is not None},
        model_is_diffusion_model=bool(entries.switch("diffusion_model")),
        flow_shift=entries.read("flow_shift", _finite, "a number"),
        schedule=entries.read("scheduler", _schedule, f"one of default, {', '.join(_SCHEDULES)}"),
        tiling=_tiling(entries),
        lora_dir=entries.path("lora_dir", folder=True),
        embedding_dir=entries.path("embedding_dir", folder=True),
        upscale_model=entries.path("upscale_model_path"),
    )


def _followed(option: str, name: str) -> str | None:
    """Return what of an entry is followed; raise `LoadError` for one that is refused."""
    if name not in OPTIONS and name not in REFUSED:
        raise unknown_option(name, OPTIONS, whose="stable-diffusion.cpp")
    reading = read_option(option)
    if reading.refused:
        raise LoadError("Unsupported", f"options: {name} has no effect here: {reading.lost}; remove it")
    return reading.kept


def _tiling(entries: _Entries) -> Tiling | None:
    size = entries.read("vae_tile_size", read_tile_size, "a size such as 512 or 512x384")
    overlap = entries.read("vae_tile_overlap", _overlap, f"a number from 0 to {_MOST_OVERLAP}")
    on = entries.switch("vae_tiling")
    if on is None:
        on = size is not None or overlap is not None
    return Tiling(size, _MOST_OVERLAP if overlap is None else overlap) if on else None


def _number_of(name: str, known: Mapping[str, int]) -> int:
    numbers = {each.lower(): number for each, number in known.items()}
    if name.lower() not in numbers:
        raise ValueError(name)
    return numbers[name.lower()]


def _schedule(text: str) -> str | None:
    """Return the canonical name of a schedule; `default` is the model's own."""
    try:
        name = resolve_sampling(None, text)[1]
    except APIError as error:
        raise ValueError(text) from error
    if name is not None and name not in _SCHEDULES:
        raise ValueError(text)
    return name


def _rules(text: str) -> str:
    """Return rules as they are: each a regular expression and the name of a type."""
    types = binding.names("type")
    for rule in text.split(","):
        pattern, equals, name = rule.rpartition("=")
        if not equals or name not in types:
            raise ValueError(rule)
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(rule) from error
    return text


def _overlap(text: str) -> float:
    if not 0 <= (value := float(text)) <= _MOST_OVERLAP:
        raise ValueError(text)
    return value


def _size(text: str) -> float:
    if (value := _finite(text)) < 0:
        raise ValueError(text)
    return value


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(text)
    return value


def _count(text: str) -> int:
    if not 1 <= (value := int(text)) <= _MOST_COUNT:
        raise ValueError(text)
    return value
