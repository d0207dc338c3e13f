"""What a spec adds to a model: LoRA adapters, textual inversions and an upscaler, each checked against the model.

What the spec names must fit. What is found in a folder that it names is left out with a warning where it does not: one
file of another family among many must not keep the model from being served.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from heliograph_api.spec import ImageModelSpec
from heliograph_runtime.engines.adapters import Adapter, spec_adapters
from heliograph_runtime.engines.protocol import LoadError
from heliograph_runtime.engines.sdcpp import binding
from heliograph_runtime.engines.sdcpp.files import ModelFile, check_names, weights_in
from heliograph_runtime.engines.sdcpp.headers import read_header
from heliograph_runtime.engines.sdcpp.known import Family
from heliograph_runtime.engines.sdcpp.loras import APPLY_MODE, ApplyMode, UnfitLoraError, check_lora, read_shapes
from heliograph_runtime.engines.sdcpp.options import LoadOptions
from heliograph_runtime.engines.sdcpp.tensors import Header

_LORA_DIR, _EMBEDDING_DIR, _UPSCALER = "options: lora_dir", "options: embedding_dir", "options: upscale_model_path"
_MODES: Sequence[ApplyMode] = ("auto", "immediately", "at_runtime")
_MOST_VECTORS = 75
"""Tokens of a prompt that CLIP reads at once."""

log = logging.getLogger(__name__)


def find_adapters(
    spec: ImageModelSpec, options: LoadOptions, family: Family, files: Mapping[str, ModelFile], *, models_dir: Path
) -> tuple[Adapter, ...]:
    """Return the adapters that the spec names, and those of `lora_dir`, of no weight unless a request gives one.

    Raises:
        LoadError: One that the spec names is missing, broken, or does not fit the model.
    """
    named = spec_adapters(spec, models_dir=models_dir)
    folder = weights_in(options.lora_dir, models_dir=models_dir, field=_LORA_DIR)
    if not named and not folder:
        return ()
    model, mode = read_shapes(family, {role: file.header for role, file in files.items()}), _mode(options)
    for adapter in named:
        try:
            left_out = check_lora(read_header(adapter.file, field=adapter.field), model, mode)
        except UnfitLoraError as error:
            raise LoadError("Unsupported", f"{adapter.field}: {adapter.file} {error}") from None
        _warn_of(adapter.file, left_out)
    taken = {adapter.file for adapter in named}
    names = {adapter.name for adapter in named}
    found = list(named)
    for name, file in folder.items():
        if file.path in taken or name in names:
            continue
        try:
            _warn_of(file.path, check_lora(file.header, model, mode))
        except UnfitLoraError as error:
            log.warning("%s: %s is left out: it %s", _LORA_DIR, file.path, error)
            continue
        found.append(Adapter(_LORA_DIR, name, file.path, 0.0))
    return tuple(found)


def find_inversions(options: LoadOptions, family: Family, *, models_dir: Path) -> tuple[tuple[str, str], ...]:
    """Return the textual inversions of `embedding_dir`: the words that call them, and their files.

    Raises:
        LoadError: The family reads none.
    """
    if not options.embedding_dir:
        return ()
    width = family.inversion_width
    if width is None:
        raise LoadError("Unsupported", f"{_EMBEDDING_DIR}: {family.title} reads no textual inversions; remove it")
    found: list[tuple[str, str]] = []
    for word, file in weights_in(options.embedding_dir, models_dir=models_dir, field=_EMBEDDING_DIR).items():
        problem = _inversion_problem(file.header, width)
        if problem:
            log.warning("%s: %s is left out: it %s", _EMBEDDING_DIR, file.path, problem)
        else:
            found.append((word, str(file.path)))
    return tuple(found)


def check_upscaler(options: LoadOptions) -> None:
    """Raise `LoadError` if the upscaler's file is broken."""
    if options.upscale_model:
        check_names(read_header(options.upscale_model, field=_UPSCALER), field=_UPSCALER)


def _mode(options: LoadOptions) -> ApplyMode:
    number = options.fields.get("lora_apply_mode")
    known = binding.names("lora_apply_mode")
    return next((mode for mode in _MODES if known[mode] == number), APPLY_MODE)


def _warn_of(file: Path, left_out: Sequence[str]) -> None:
    for problem in left_out:
        log.warning("%s %s", file, problem)


def _inversion_problem(header: Header, width: int) -> str | None:
    """Return what keeps a file from being a textual inversion of one encoder, whose table of words is f32 then."""
    if len(header.tensors) != 1:
        return f"has {len(header.tensors)} tensors, not one"
    (info,) = header.tensors.values()
    try:
        check_names(header, field=_EMBEDDING_DIR)
    except LoadError as error:
        return f"is broken ({error.message})"
    vectors, *rest = (1, *info.shape) if len(info.shape) == 1 else info.shape
    if rest != [width] or not 1 <= vectors <= _MOST_VECTORS:
        return f"has shape {[*info.shape]}, not 1 to {_MOST_VECTORS} vectors of {width}"
    return None if info.type == "f32" else f"is stored as {info.type}; convert it to F32"
