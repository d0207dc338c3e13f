"""What a model and its pictures take of main memory, and what follows: refusals, and the largest picture.

On a GPU nothing here tells what is free: the library has no such call.
"""

from bisect import bisect_right
from collections.abc import Mapping

from heliograph_runtime.engines import container
from heliograph_runtime.engines.protocol import LoadError
from heliograph_runtime.engines.sdcpp import binding
from heliograph_runtime.engines.sdcpp.estimate import Estimate, estimate
from heliograph_runtime.engines.sdcpp.known import Family
from heliograph_runtime.engines.sdcpp.options import LoadOptions
from heliograph_runtime.engines.sdcpp.tensors import Header

_SMALL = 256
"""Side of a picture that there must be memory for, whatever is asked for later."""
_SIDES = range(64, 4096 + 1, 64)
_USABLE = 0.75
"""Part of the free memory to plan with, as in the other engine: the estimate is good to a tenth."""


class Memory:
    """The main memory that one model takes on a CPU."""

    def __init__(self, family: Family, headers: Mapping[str, Header], options: LoadOptions, *, threads: int) -> None:
        """Keep what the estimate goes by; `threads` are those that load."""
        self._family = family
        self._headers = headers
        self._options = options
        self._threads = threads

    def check_fits(self) -> int:
        """Return the bytes of the model with a small picture; raise `LoadError` when they can never be had here."""
        needed, limit = self._estimate(_SMALL, frames=1).ram_bytes, container.memory_limit()
        if limit is not None and needed > limit:
            raise LoadError(
                "TooLittleMemory",
                f"parameters.model: it takes about {needed / 2**30:.1f} GiB, but only {limit / 2**30:.1f} GiB can be "
                "used here; raise the memory limit, or use weights of fewer bits",
            )
        return needed

    def max_pixels(self) -> int | None:
        """Return the most pixels that the memory left after loading allows a picture; None if nothing tells.

        For clips these are the pixels of a frame, in a clip of as many frames as the family draws by itself.
        """
        free = container.available_memory()
        if free is None:
            return None
        fitting = bisect_right(_SIDES, free * _USABLE, key=self._drawing_bytes)
        return _SIDES[max(0, fitting - 1)] ** 2

    def _drawing_bytes(self, side: int) -> int:
        frames = self._family.clips.frames if self._family.clips else 1
        return self._estimate(side, frames=frames).drawing_bytes

    def _estimate(self, side: int, *, frames: int) -> Estimate:
        fields, tiling = self._options.fields, self._options.tiling
        return estimate(
            self._headers,
            self._family,
            width=side,
            height=side,
            frames=frames,
            flash_attention=bool(fields.get("diffusion_flash_attn") or fields.get("flash_attn")),
            tile=tiling.pixels(self._family.latent_pixels) if tiling else None,
            wtype=_type_name(fields.get("wtype")),
            threads=self._threads,
        )


def _type_name(number: int | None) -> str | None:
    """Return the name that `BLOCKS` has for the library's number of a type; None for no number."""
    return next((name.lower() for name, own in binding.names("type").items() if own == number), None)
