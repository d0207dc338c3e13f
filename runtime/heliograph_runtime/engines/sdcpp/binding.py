"""stable-diffusion.cpp's C interface, as far as the engine uses it.

The package's Python class is left aside: it never frees the pictures that it is given, draws negative seeds out of
10,000 numbers, silences the whole process while it works, and lets callbacks be collected that the library still calls.
What it loads and declares, the library and its structures, is used as it is.

The library keeps callbacks for the process, not for a context. They are the three at the end, which live as long as the
process; the library calls those for progress and previews on the thread that called it.
"""

import ctypes
import logging
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from stable_diffusion_cpp import stable_diffusion_cpp as native

from heliograph_runtime.engines.sdcpp.orders import Order, Pixels
from heliograph_runtime.engines.sdcpp.structures import clip_order, image, picture_order

NameKind = Literal["sample_method", "scheduler", "prediction", "rng_type", "lora_apply_mode", "type"]
"""What the library has names for."""

OnProgress = Callable[[int, int], None]
"""Called with the steps done and the number of all; for other work too, such as tiles and files."""
OnPreview = Callable[[int, Pixels], None]
"""Called with the step and what the picture looks like after it."""

_COUNTS: Mapping[NameKind, int] = {
    "sample_method": native.SampleMethod.SAMPLE_METHOD_COUNT,
    "scheduler": native.Scheduler.SCHEDULER_COUNT,
    "prediction": native.Prediction.PREDICTION_COUNT,
    "rng_type": native.RNGType.RNG_TYPE_COUNT,
    "lora_apply_mode": native.LoraApplyMode.LORA_APPLY_MODE_COUNT,
    "type": native.GGMLType.SD_TYPE_COUNT,
}
_WEIGHT_TYPES = (
    "f32", "f16", "bf16", "q8_0", "q6_K", "q5_K", "q5_1", "q5_0", "q4_K", "q4_1", "q4_0", "iq4_nl", "iq4_xs", "q3_K",
    "q2_K",
)  # fmt: skip
"""Types that `ggml_quantize_chunk` makes of others; of those that it does not, it makes garbage without a word."""
_WARNING, _ERROR = 2, 3
"""Levels of the library's log. Below them it repeats prompts, which belong in no log."""
_KEPT_LINES = 3
_SOURCE = re.compile(r"^[\w.]+:\d+ +- ")
"""What stands before a line of the library's log: the place in its source."""

_library: Any = native._lib  # noqa: SLF001 - for the functions that the package declares nowhere

log = logging.getLogger(__name__)


class NativeError(Exception):
    """The library could not do what it was asked to; the message is the last of what it logged."""


@dataclass
class _Process:
    """What the library's callbacks work on."""

    errors: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))
    on_progress: OnProgress | None = None
    on_preview: OnPreview | None = None


_process = _Process()


@cache
def names(kind: NameKind) -> dict[str, int]:
    """Return the names that the loaded library knows, with their numbers."""
    name_of = getattr(_library, f"sd_{kind}_name")
    name_of.argtypes, name_of.restype = [ctypes.c_int], ctypes.c_char_p
    found = ((name_of(number), number) for number in range(_COUNTS[kind]))
    known = {name.decode(): number for name, number in found if name}
    return {name: known[name] for name in _WEIGHT_TYPES if name in known} if kind == "type" else known


def exports(symbol: str) -> bool:
    """Return whether the loaded library has a function."""
    return hasattr(_library, symbol)


class Context:
    """A loaded model; of no use to two threads at once."""

    def __init__(self, settings: Mapping[str, Any], *, embeddings: Sequence[tuple[str, str]] = ()) -> None:
        """Load a model.

        Args:
            settings: Fields of `sd_ctx_params_t` that differ from the library's defaults; paths as text.
            embeddings: Names and files of textual inversions.

        Raises:
            NativeError: It can't be loaded.
        """
        params = native.sd_ctx_params_t()
        _library.sd_ctx_params_init(ctypes.byref(params))
        # Each text must live as long as the structure that points to it.
        texts = {name: value.encode() for name, value in settings.items() if isinstance(value, str)}
        for name, value in {**settings, **texts}.items():
            setattr(params, name, value)
        entries = (native.sd_embedding_t * len(embeddings))(
            *((name.encode(), path.encode()) for name, path in embeddings)
        )
        params.embeddings, params.embedding_count = entries, len(embeddings)
        _process.errors.clear()
        self._handle = native.new_sd_ctx(ctypes.byref(params))
        if not self._handle:
            raise NativeError(_why())

    def draw(self, order: Order, *, on_progress: OnProgress, on_preview: OnPreview | None = None) -> Pixels:
        """Draw one picture; what the callbacks raise is lost.

        Raises:
            NativeError: It can't be drawn.
        """
        params, _kept = picture_order(order)
        with _watched(on_progress, on_preview):
            result = native.generate_image(self._handle, ctypes.byref(params))
        (pixels,) = _all_taken(result, 1)
        return pixels

    def film(self, order: Order, *, on_progress: OnProgress) -> list[Pixels]:
        """Draw the frames of one clip; what the callback raises is lost.

        Raises:
            NativeError: It can't be drawn.
        """
        params, _kept = clip_order(order)
        count = ctypes.c_int()
        with _watched(on_progress, None):
            result = native.generate_video(self._handle, ctypes.byref(params), ctypes.byref(count))
        return _all_taken(result, count.value)


class Upscaler:
    """A loaded ESRGAN model."""

    def __init__(self, path: str, *, threads: int) -> None:
        """Load a model; raise `NativeError` when it can't be."""
        _process.errors.clear()
        self._handle = native.new_upscaler_ctx(path.encode(), False, False, threads, 0)
        if not self._handle:
            raise NativeError(_why())

    @property
    def factor(self) -> int:
        """Return by how much it makes a picture larger."""
        return int(native.get_upscale_factor(self._handle))

    def enlarge(self, picture: Pixels) -> Pixels:
        """Return a picture made larger by the model's factor; raise `NativeError` when it can't be."""
        params, _kept = image(picture)
        _process.errors.clear()
        result = native.upscale(self._handle, params, self.factor)
        if not result.data:
            raise NativeError(_why())
        return _taken(result)


@contextmanager
def _watched(on_progress: OnProgress, on_preview: OnPreview | None) -> Iterator[None]:
    """Have the library's callbacks work on what is drawn meanwhile."""
    _process.errors.clear()
    _process.on_progress, _process.on_preview = on_progress, on_preview
    mode = native.Preview.PREVIEW_PROJ if on_preview else native.Preview.PREVIEW_NONE
    native.sd_set_preview_callback(_on_preview, mode, 1, True, False, None)
    try:
        yield
    finally:
        _process.on_progress = _process.on_preview = None


def _all_taken(result: Any, count: int) -> list[Pixels]:
    """Return the pixels of pictures that the library made, and free them; raise `NativeError` when it told of one."""
    if not result:
        raise NativeError(_why())
    try:
        pixels = [_taken(result[place]) for place in range(count)]
    finally:
        _free(result)
    # Of some errors the library only tells: a schedule that a family does not have makes a black picture.
    if _process.errors:
        raise NativeError(_why())
    return pixels


def _taken(made: Any) -> Pixels:
    """Return the pixels of a picture that the library made, and free it."""
    try:
        return _copied(made)
    finally:
        _free(made.data)


def _copied(made: Any) -> Pixels:
    size = made.width * made.height * made.channel
    return Pixels(made.width, made.height, made.channel, ctypes.string_at(made.data, size))


def _free(pointer: Any) -> None:
    """Give back memory that the library took with malloc."""
    _libc.free(ctypes.cast(pointer, ctypes.c_void_p))


def _why() -> str:
    return "; ".join(_process.errors) or "the library says nothing more"


def _log_line(level: int, text: bytes, _data: object) -> None:
    line = _SOURCE.sub("", " ".join(text.decode(errors="replace").split()))
    if level >= _ERROR and line:
        log.error("%s", line)
        _process.errors.append(line)
    elif level >= _WARNING and line:
        log.warning("%s", line)


def _tell_progress(step: int, steps: int, _seconds: float, _data: object) -> None:
    if _process.on_progress:
        _process.on_progress(step, steps)


def _show_preview(step: int, count: int, frames: Any, _noisy: bool, _data: object) -> None:
    if _process.on_preview and count:
        _process.on_preview(step, _copied(frames[0]))


_libc = ctypes.CDLL(None)
_libc.free.argtypes, _libc.free.restype = [ctypes.c_void_p], None
_on_log = native.sd_log_callback(_log_line)
_on_progress = native.sd_progress_callback(_tell_progress)
_on_preview = native.sd_preview_callback(_show_preview)
native.sd_set_log_callback(_on_log, None)
native.sd_set_progress_callback(_on_progress, None)
