"""What shapes the parts of an adapter's change need, so that stable-diffusion.cpp can apply it.

The rules are those of `lora.hpp` and of `ggml_ext_lokr_forward` in stable-diffusion-cpp-python 0.4.7. At runtime a LoRA
and a LoKr are layers of their own beside that of the model; all else is computed into the weights, then as
`immediately`.
"""

from collections.abc import Mapping

from heliograph_runtime.engines.sdcpp.tensors import TensorInfo, elements

Shape = tuple[int, ...]
Parts = Mapping[str, TensorInfo]
"""Tensors of one change by what they are in it, such as lora_up."""

_MATRIX, _CONVOLUTION = 2, 4
_STRIDED = ".op.weight"
_FLOATS = frozenset({"f32", "f16", "bf16", "f64", "f8_e4m3", "f8_e5m2"})
_NUMBERS = _FLOATS | {"i32", "i64"}
_LOKR = frozenset({"lokr_w1", "lokr_w1_a"})
_KINDS = ("lora", "lokr", "diff", "hada")
_SINGLE = frozenset({"alpha", "scale"})


class MisfitError(Exception):
    """A part of a change that does not fit; its name is the argument."""


def kind_of(parts: Parts) -> str | None:
    """Return which kind of change it is, by what its parts' names start with; None for none that is known.

    Raises:
        MisfitError: It is several, of which the library takes one or more, as the mode is.
    """
    kinds = {kind: part for part in parts for kind in _KINDS if part.startswith(kind)}
    if len(kinds) > 1:
        raise MisfitError([*kinds.values()][-1])
    return next(iter(kinds), None)


def changed_rows(parts: Parts, target: str, shape: Shape, *, at_runtime: bool) -> int | None:
    """Return how many rows of a tensor a change is for; None where a part is missing and it is left out.

    Args:
        parts: Its tensors.
        target: The tensor that it changes.
        shape: The shape of that.
        at_runtime: Whether it is applied beside the weights, and not to them.

    Raises:
        MisfitError: stable-diffusion.cpp would end the process, or make another change than the adapter's.
    """
    for part, info in parts.items():
        if not info.bytes or info.type not in (_NUMBERS if part in _SINGLE else _FLOATS):
            raise MisfitError(part)
    beside = at_runtime and len(shape) in {_MATRIX, _CONVOLUTION}
    if parts.keys() & _LOKR:
        return _lokr_beside(parts, shape) if beside else _lokr_into(parts, shape)
    if {"lora_down", "lora_up"} <= parts.keys():
        return (
            _lora_beside(parts, target, shape) if beside else _merged(parts, "lora_down", "lora_up", "lora_mid", shape)
        )
    if "diff" in parts:
        return _difference(parts["diff"].shape, shape)
    if {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"} <= parts.keys():
        rows = _merged(parts, "hada_w1_b", "hada_w1_a", "hada_t1", shape)
        return _same(rows, _merged(parts, "hada_w2_b", "hada_w2_a", "hada_t2", shape), "hada_w2_a")
    return None


def pads(parts: Parts, shape: Shape, *, at_runtime: bool) -> bool:
    """Return whether a change of fewer rows than a tensor has leaves the last ones as they are."""
    return len(shape) == _MATRIX and not (at_runtime and parts.keys() & {"lora_up", *_LOKR})


def _difference(own: Shape, shape: Shape) -> int:
    if len(shape) == _MATRIX:
        _need(len(own) == _MATRIX and own[1] == shape[1], "diff")
    row = elements(shape[1:])
    _need(elements(own) % row == 0, "diff")
    return elements(own) // row


def _merged(parts: Parts, down: str, up: str, mid: str, shape: Shape) -> int:
    """Return the rows of the product of two matrices, or of Tucker's with a core between them."""
    first, last = parts[down].shape, parts[up].shape
    _need(len(first) in {_MATRIX, _CONVOLUTION}, down)
    _need(len(last) in {_MATRIX, _CONVOLUTION} and last[0] > 1, up)
    if mid in parts:
        core = parts[mid].shape
        _need(len(shape) == len(core) == _CONVOLUTION and core[2:] == shape[2:], mid)
        # LoHa stores the matrix of the rows the other way round where it has a core.
        rows, rank = last[:2] if up == "lora_up" else last[1::-1]
        _need(first[:2] == (core[1], shape[1]) and elements(first[2:]) == 1, down)
        _need(rank == core[0] and elements(last[2:]) == 1, up)
        return rows
    _need(elements(first[1:]) == elements(shape[1:]) and len(shape) > 1, down)
    _need(elements(last[1:]) == first[0], up)
    return last[0]


def _lora_beside(parts: Parts, target: str, shape: Shape) -> int:
    down, up = parts["lora_down"].shape, parts["lora_up"].shape
    _need(len(up) in {_MATRIX, len(shape)} and elements(up[2:]) == 1, "lora_up")
    rank = down[0]
    if len(shape) == _MATRIX:
        _need("lora_mid" not in parts, "lora_mid")
        _need(len(down) == _MATRIX and down[1] == shape[1], "lora_down")
    else:
        kernel = (1, 1) if "lora_mid" in parts else shape[2:]
        # The library takes a matrix of rank 1 for a kernel.
        flat = len(down) == _MATRIX and elements(kernel) == 1 and rank > 1
        _need(flat or (len(down) == _CONVOLUTION and down[2:] == kernel), "lora_down")
        _need(down[1] == shape[1], "lora_down")
        if "lora_mid" in parts:
            core = parts["lora_mid"].shape
            centred = shape[2] % 2 == 1 and not target.endswith(_STRIDED)
            _need(centred and len(core) == _CONVOLUTION and core[1:] == (rank, *shape[2:]), "lora_mid")
            rank = core[0]
        _need(len(up) == _CONVOLUTION or rank > 1, "lora_up")
    _need(up[1] == rank, "lora_up")
    return up[0]


def _lokr_beside(parts: Parts, shape: Shape) -> int:
    # Of a first matrix in two factors, and for layers of a second, the library multiplies the factors in wrong order.
    _need("lokr_w1" in parts, "lokr_w1_a")
    outer = parts["lokr_w1"].shape
    _need(len(outer) == _MATRIX and shape[1] % outer[1] == 0, "lokr_w1")
    inputs = shape[1] // outer[1]
    if "lokr_w2" in parts:
        inner = parts["lokr_w2"].shape
        _need(len(inner) == len(shape) and inner[1:] == (inputs, *shape[2:]), "lokr_w2")
        return outer[0] * inner[0]
    _need({"lokr_w2_a", "lokr_w2_b"} <= parts.keys(), "lokr_w1")
    _need(len(shape) == _CONVOLUTION, "lokr_w2_a")
    left, right = parts["lokr_w2_a"].shape, parts["lokr_w2_b"].shape
    _need(len(left) == _MATRIX and left[1] > 1, "lokr_w2_a")
    _need(len(right) in {_MATRIX, _CONVOLUTION} and right[0] == left[1], "lokr_w2_b")
    _need(elements(right[1:]) == inputs * elements(shape[2:]) and shape[2] == shape[3], "lokr_w2_b")
    return outer[0] * left[0]


def _lokr_into(parts: Parts, shape: Shape) -> int | None:
    """Return the rows of a Kronecker product; of convolutions' the library mixes up the axes."""
    if not all(f"lokr_w{number}" in parts or _factors(number) <= parts.keys() for number in (1, 2)):
        return None
    _need(len(shape) == _MATRIX, next(iter(parts)))
    outer, inner = _factor(parts, 1), _factor(parts, 2)
    _need(outer[1] * inner[1] == shape[1], "lokr_w2" if "lokr_w2" in parts else "lokr_w2_b")
    return outer[0] * inner[0]


def _factors(number: int) -> frozenset[str]:
    return frozenset({f"lokr_w{number}_a", f"lokr_w{number}_b"})


def _factor(parts: Parts, number: int) -> Shape:
    whole = f"lokr_w{number}"
    if whole in parts:
        _need(len(parts[whole].shape) == _MATRIX, whole)
        return parts[whole].shape
    left, right = parts[f"{whole}_a"].shape, parts[f"{whole}_b"].shape
    _need(len(left) == _MATRIX, f"{whole}_a")
    _need(len(right) == _MATRIX and right[0] == left[1], f"{whole}_b")
    return left[0], right[1]


def _same(rows: int, others: int, part: str) -> int:
    _need(rows == others, part)
    return rows


def _need(met: bool, part: str) -> None:
    if not met:
        raise MisfitError(part)
