"""Whether a LoRA adapter fits a model, told from the headers of both.

stable-diffusion.cpp finds out in the middle of a request, and ends the process: ggml asserts the shapes of what it
multiplies and adds. What it does not assert can be wrong too: a change of fewer rows than the tensor has is repeated
until it fills it, as an adapter of FLUX.1 would be that changes the queries alone.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from heliograph_runtime.engines.sdcpp.families import PREFIX
from heliograph_runtime.engines.sdcpp.files import ALL_IN_ONE, DIFFUSION_MODEL
from heliograph_runtime.engines.sdcpp.known import Family
from heliograph_runtime.engines.sdcpp.lora_shapes import MisfitError, Shape, changed_rows, kind_of, pads
from heliograph_runtime.engines.sdcpp.names import lora_tensor, model_tensor
from heliograph_runtime.engines.sdcpp.tensors import Header, TensorInfo, quoted

ApplyMode = Literal["auto", "immediately", "at_runtime"]
APPLY_MODE: ApplyMode = "at_runtime"
"""What the option `lora_apply_mode` is unless given. What the library puts into the weights it can't take out again
exactly: the next request would see a trace."""

_UNCHECKED = ("first_stage_model.", "tae.", "text_encoders.llm.")
"""Parts of a model whose names are not told here: the VAE and language models."""
_MAGNITUDES = ".dora_scale"
_STARTS: Mapping[str, str] = {
    ALL_IN_ONE: "",
    DIFFUSION_MODEL: PREFIX,
    "clip_l_path": "text_encoders.clip_l.transformer.",
    "clip_g_path": "text_encoders.clip_g.transformer.",
    "t5xxl_path": "text_encoders.t5xxl.transformer.",
}
_UNET_STARTS: Mapping[str, str] = {
    "clip_l_path": "cond_stage_model.transformer.",
    "clip_g_path": "cond_stage_model.1.transformer.",
}
_OPEN_CLIP = "cond_stage_model.1.transformer.text_model.encoder.layers."
_IN_PROJ: Mapping[str, str] = {
    f"self_attn.{part}_proj.{kind}": f"self_attn.in_proj.{kind}{number}"
    for part, number in (("q", ""), ("k", ".1"), ("v", ".2"))
    for kind in ("weight", "bias")
}
_ANOTHER = "use an adapter that was made for {}"
_MATRIX = 2
_NUMBERED = re.compile(r"(.+)\.([1-9]\d{0,3})")


class UnfitLoraError(Exception):
    """An adapter that can't be applied to a model; the message says why, as the rest of a sentence, and what to do."""


@dataclass(frozen=True)
class ModelShapes:
    """What an adapter can change in a model.

    Attributes:
        family: The model's family.
        shapes: Shapes of its tensors, by the library's names for them.
    """

    family: Family
    shapes: Mapping[str, Shape]


@dataclass(frozen=True)
class _Change:
    """What changes a tensor, or the part of it that has a number: tensors, and their names, by their roles in it."""

    parts: dict[str, TensorInfo]
    names: dict[str, str]


_Changes = Mapping[str, Mapping[int, _Change]]
"""Changes by the tensor that they change, and by number."""


def read_shapes(family: Family, headers: Mapping[str, Header]) -> ModelShapes:
    """Return what an adapter can change in a model.

    Args:
        family: The model's family.
        headers: Headers of its files by the library's name for what they are.

    Raises:
        ValueError: A tensor has a name that ends the library's process; it is the argument.
    """
    starts = {**_STARTS, **(_UNET_STARTS if family.backbone == "unet" else {})}
    found: dict[str, Shape] = {}
    for role, start in starts.items():
        for name, info in headers[role].tensors.items() if role in headers else ():
            found[model_tensor(name if name.startswith(start) else start + name, family)] = info.shape
    return ModelShapes(family, found)


def check_lora(header: Header, model: ModelShapes, mode: ApplyMode) -> tuple[str, ...]:
    """Return what the library will leave out of an adapter, as rests of sentences whose subject is its file.

    Args:
        header: The adapter's header.
        model: The model that it is for.
        mode: The option `lora_apply_mode`.

    Raises:
        UnfitLoraError: It changes nothing of the model, or what the library would not survive or do wrong.
    """
    changes = _changes(header, model)
    try:
        applied = min(
            _applied(changes, model, at_runtime=at_runtime)
            for at_runtime in (True, False)
            if mode != ("immediately" if at_runtime else "at_runtime")
        )
    except UnfitLoraError as error:
        raise UnfitLoraError(f"{error}; {_remedy(changes, model, mode)}") from None
    if not applied:
        such = f" (such as {quoted(next(iter(header.tensors)))})" if header.tensors else ""
        raise UnfitLoraError(f"has no tensor{such} for one of the model's; {_ANOTHER.format(model.family.title)}")
    return tuple(_left_out(header, applied))


def _changes(header: Header, model: ModelShapes) -> _Changes:
    found: dict[str, dict[int, _Change]] = {}
    fused = f"{_OPEN_CLIP}0.self_attn.in_proj.weight" in model.shapes
    for name, info in header.tensors.items():
        target, _, part = _library_name(name, model.family).rpartition(".")
        if target.startswith(_UNCHECKED):
            raise UnfitLoraError(f"changes the VAE or a language model ({quoted(name)}); use one that does not")
        if fused and target.startswith(_OPEN_CLIP):
            target = next((target.replace(*pair) for pair in _IN_PROJ.items() if pair[0] in target), target)
        numbered = None if target in model.shapes else _NUMBERED.fullmatch(target)
        target, number = (numbered[1], int(numbered[2])) if numbered else (target, 0)
        if target not in model.shapes:
            continue
        change = found.setdefault(target, {}).setdefault(number, _Change({}, {}))
        if part in change.parts:
            raise UnfitLoraError(f"has two tensors for one ({quoted(name)} and {quoted(change.names[part])}); mend it")
        change.parts[part], change.names[part] = info, name
    return found


def _library_name(name: str, family: Family) -> str:
    try:
        return lora_tensor(name, family)
    except ValueError:
        raise UnfitLoraError(f"names a tensor that ends stable-diffusion.cpp ({quoted(name)}); mend it") from None


def _applied(changes: _Changes, model: ModelShapes, *, at_runtime: bool) -> int:
    """Return how many tensors of an adapter are applied; raise `UnfitLoraError` where one does not fit."""
    return sum(
        _applied_to(target, model.shapes[target], numbered, at_runtime=at_runtime)
        for target, numbered in changes.items()
    )


def _applied_to(target: str, shape: Shape, numbered: Mapping[int, _Change], *, at_runtime: bool) -> int:
    """Return how many tensors change one of the model's: those numbered without a gap and of one kind, put together."""
    rows = applied = 0
    for number in range(len(numbered)):
        change = numbered.get(number)
        own = None if change is None else _rows(change, target, shape, at_runtime=at_runtime)
        if change is None or own is None or kind_of(change.parts) != kind_of(numbered[0].parts):
            break
        rows, applied = rows + own, applied + len(change.parts)
    if not applied:
        return 0
    filled = rows == shape[0] or (rows < shape[0] and pads(numbered[0].parts, shape, at_runtime=at_runtime))
    if not filled or (len(shape) > _MATRIX and 1 in numbered):
        name = next(iter(numbered[0].names.values()))
        raise UnfitLoraError(
            f"changes {rows} rows of {quoted(target)} of shape {[*shape]} by {quoted(name)} and its like, and "
            "stable-diffusion.cpp changes all or none"
        )
    return applied


def _rows(change: _Change, target: str, shape: Shape, *, at_runtime: bool) -> int | None:
    try:
        kind_of(change.parts)
        return changed_rows(change.parts, target, shape, at_runtime=at_runtime)
    except MisfitError as error:
        part = str(error)
        name, info = change.names[part], change.parts[part]
        raise UnfitLoraError(
            f"changes {quoted(target)} of shape {[*shape]} by {quoted(name)} of shape {[*info.shape]} and type "
            f"{info.type}, which does not fit it"
        ) from None


def _remedy(changes: _Changes, model: ModelShapes, mode: ApplyMode) -> str:
    """Return what to do about an adapter that can't be applied as the mode asks."""
    for other, at_runtime in (("immediately", False), ("at_runtime", True)):
        try:
            if mode != other and _applied(changes, model, at_runtime=at_runtime):
                return f"set the option lora_apply_mode to {other}"
        except UnfitLoraError:
            continue
    return _ANOTHER.format(model.family.title)


def _left_out(header: Header, applied: int) -> Iterator[str]:
    if any(name.endswith(_MAGNITUDES) for name in header.tensors):
        yield "is a DoRA, and is applied without its magnitudes"
    if applied < (count := len(header.tensors)):
        yield f"has {count - applied} of {count} tensors that stable-diffusion.cpp finds no use for in this model"
