"""Layers of random and of empty weights for stable-diffusion.cpp."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from runtime.miniature_sdcpp_files import Values, Weights


class Layers:
    """Collects the tensors of a network layer by layer, the same ones each time.

    Most sizes are fixed in stable-diffusion.cpp, so a network of a real size is made small by leaving most layers
    empty: their zeros take no room on the disk, and residual connections lead around them.
    """

    def __init__(self, seed: int, drawn: Sequence[str] = ("",)) -> None:
        """Draw random weights for the layers whose names contain one of `drawn`, and zeros for the others."""
        self.weights: Weights = {}
        self._numbers = np.random.default_rng(seed)
        self._drawn = tuple(drawn)

    def linear(self, name: str, inputs: int, outputs: int, *, bias: bool = True, gain: float = 1.0) -> None:
        """Add a fully connected layer whose outputs vary `gain` times as much as its inputs."""
        self.tensor(f"{name}.weight", (outputs, inputs), spread=gain / inputs**0.5)
        if bias:
            self.weights[f"{name}.bias"] = (outputs,)

    def conv(
        self, name: str, inputs: int, outputs: int, size: int = 3, *, bias: bool = True, gain: float = 1.0
    ) -> None:
        """Add a convolution of size x size whose outputs vary `gain` times as much as its inputs."""
        self.tensor(f"{name}.weight", (outputs, inputs, size, size), spread=gain / (inputs * size * size) ** 0.5)
        if bias:
            self.weights[f"{name}.bias"] = (outputs,)

    def norm(self, name: str, width: int) -> None:
        """Add a normalisation that only normalises."""
        self.weights[f"{name}.weight"] = np.ones(width, np.float16)
        self.weights[f"{name}.bias"] = (width,)

    def tensor(self, name: str, shape: tuple[int, ...], *, spread: float = 1.0, rows: int | None = None) -> None:
        """Add a tensor of random values around zero, or of zeros where its layer is not drawn.

        With `rows`, only so many first rows and the last two are random.
        """
        if not any(part in name for part in self._drawn):
            self.weights[name] = shape
            return
        values = np.zeros(shape, np.float16)
        parts = [values] if rows is None else [values[:rows], values[-2:]]
        for part in parts:
            part[...] = self._numbers.standard_normal(part.shape, np.float32) * spread
        self.weights[name] = values


def first_three(channels: int, value: float) -> "Values":
    """Return a bias of one value in the first three channels, and of zero in the others."""
    return np.array([value] * 3 + [0] * (channels - 3), np.float16)


def passing(outputs: int, inputs: int, gain: float = 1, *, size: int = 3) -> "Values":
    """Return a convolution that hands on the first three channels, and nothing else."""
    weight = np.zeros((outputs, inputs, size, size), np.float16)
    for channel in range(3):
        weight[channel, channel, size // 2, size // 2] = gain
    return weight
