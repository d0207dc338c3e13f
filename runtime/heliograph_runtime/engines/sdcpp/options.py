"""`options` of the spec for this engine: `key:value` entries, split at their first colon, as LocalAI documents them.

Each option that LocalAI takes is in one of the tables below: it has its effect, or it is refused with the reason. None
is taken and left alone.
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
from heliograph_api.sdcpp_options import REFUSED
from heliograph_runtime.engines.option_values import read_truth, unknown_option
from heliograph_runtime.engines.paths import inside
from heliograph_runtime.engines.protocol import LoadError
from heliograph_runtime.engines.sdcpp import binding

PATHS: Mapping[str, str] = {
    "diffusion_model_path": "the diffusion model, where parameters.model names none",
    "clip_l_path": "CLIP-L, a text encoder",
    "clip_g_path": "CLIP-G, a text encoder",
    "t5xxl_path": "T5-XXL, a text encoder",
    "llm_path": "the language model that encodes text for Qwen-Image, Z-Image and FLUX.2",
    "llm_vision_path": "its image encoder",
    "vae_path": "the VAE",
    "taesd_path": "TAESD, a small VAE",
    "control_net_path": "a ControlNet",
    "clip_vision_path": "CLIP's image encoder, by which Wan 2.1 sees a clip's first picture",
    "high_noise_diffusion_model_path": "the diffusion model for the first steps of Wan 2.2's larger models",
}
"""Options that name a file, relative to the models folder, and are fields of the same name in the library."""

SWITCHES: Mapping[str, str] = {
    "diffusion_flash_attn": "flash attention in the diffusion model",
    "flash_attn": "flash attention everywhere",
    "diffusion_conv_direct": "convolutions of the diffusion model without a matrix of their inputs",
    "vae_conv_direct": "likewise for the VAE",
    "force_sdxl_vae_conv_scale": "SDXL's VAE scaled so that it does not overflow in half precision",
    "chroma_use_dit_mask": "Chroma's mask in the diffusion model",
    "chroma_use_t5_mask": "Chroma's mask for T5",
    "qwen_image_zero_cond_t": "Qwen-Image's conditioning at time zero",
    "offload_params_to_cpu": "weights are kept in main memory and brought to the device as they are needed",
    "enable_mmap": "weights are mapped into memory rather than read",
    "keep_clip_on_cpu": "text encoders run on the CPU",
    "keep_vae_on_cpu": "the VAE runs on the CPU",
    "keep_control_net_on_cpu": "the ControlNet runs on the CPU",
    "vae_decode_only": "the VAE's encoder is not loaded: no request can bring a picture",
    "circular_x": "pictures whose left and right edges meet",
    "circular_y": "pictures whose upper and lower edges meet",
}
"""Options that are true or false, and are fields of the same name in the library; without a value they are true."""

CHOICES: Mapping[str, tuple[binding.NameKind, str]] = {
    "prediction": ("prediction", "what the model predicts"),
    "rng_type": ("rng_type", "random numbers of the first noise"),
    "sampler_rng_type": ("rng_type", "random numbers of the sampler"),
    "lora_apply_mode": ("lora_apply_mode", "when LoRA adapters are applied"),
    "wtype": ("type", "number type that weights are converted to as they are loaded"),
}
"""Options with a name out of the library's list, and fields of the same name in the library."""

_OTHERS: Mapping[str, str] = {
    "diffusion_model": "parameters.model is a diffusion model alone; the other parts are named by options",
    "sampler": "sampler of a request that names none",
    "scheduler": "schedule of a request that names none",
    "flow_shift": "shift of a flow model's schedule",
    "n_threads": "CPU threads; spec.threads when absent",
    "max_vram": "GiB of a GPU's memory to use; 0 for all",
    "chroma_t5_mask_pad": "tokens that Chroma's mask leaves in",
    "tensor_type_rules": "number types by the names of tensors, `REGEX=TYPE,...`",
    "vae_tiling": "the VAE works in tiles",
    "vae_tile_size": "size of a tile in places of the latents, `32` or `32x24`",
    "vae_tile_overlap": "part of a tile that overlaps the next, 0 to 0.5",
    "lora_dir": "folder with LoRA adapters, which prompts and requests name",
    "embedding_dir": "folder with textual inversions, which prompts name",
    "upscale_model_path": "an ESRGAN model, which enlarges pictures",
    "cfg_scale": "guidance scale of a request that names none",
    "guidance_scale": "likewise",
}
OPTIONS: Mapping[str, str] = {**PATHS, **SWITCHES, **{name: about for name, (_, about) in CHOICES.items()}, **_OTHERS}
"""All options that have an effect, with what they do."""

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
        tiling: Tiles' width, height and overlap, 0 for the library's own; None without tiles.
        lora_dir: Folder with adapters.
        embedding_dir: Folder with textual inversions.
        upscale_model: File of an ESRGAN model.
    """

    paths: Mapping[str, Path]
    fields: Mapping[str, Any]
    model_is_diffusion_model: bool
    flow_shift: float | None
    schedule: str | None
    tiling: tuple[int, int, float] | None
    lora_dir: Path | None
    embedding_dir: Path | None
    upscale_model: Path | None


class _Entries:
    """The spec's entries by key; of several with one key the last counts, and a key alone is true."""

    def __init__(self, options: Iterable[str], models_dir: Path) -> None:
        self._models_dir = models_dir
        self._values: dict[str, str] = {}
        for option in options:
            key, colon, value = option.partition(":")
            _check_name(key.strip())
            self._values[key.strip()] = value.strip() if colon else "true"

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


def _check_name(name: str) -> None:
    if name in REFUSED:
        raise LoadError("Unsupported", f"options: {name} has no effect here: {REFUSED[name]}; remove it")
    if name not in OPTIONS:
        raise unknown_option(name, OPTIONS, whose="stable-diffusion.cpp")


def _tiling(entries: _Entries) -> tuple[int, int, float] | None:
    size = entries.read("vae_tile_size", _tile_size, "a size such as 32 or 32x24")
    overlap = entries.read("vae_tile_overlap", _overlap, f"a number from 0 to {_MOST_OVERLAP}")
    on = entries.switch("vae_tiling")
    if on is None:
        on = size is not None or overlap is not None
    width, height = size or (0, 0)
    return (width, height, _MOST_OVERLAP if overlap is None else overlap) if on else None


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


def _tile_size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return _count(width), _count(height or width)


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
