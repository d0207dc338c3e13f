"""What a request used, and how a runtime tells its gateway.

It stands in a header of an answer that is whole, and in comments of an answer of events, which readers of events skip.
The gateway keeps both from its clients.
"""

import re
from dataclasses import dataclass

USAGE_HEADER = "x-heliograph-usage"
"""Header of an answer that is whole."""
COMMENT_START = b": heliograph-usage "
"""Beginning of a comment among events; the last one of a stream counts, since each tells all that was used so far."""
LONGEST_TEXT = 256
"""Most characters of the text; what is longer is no usage."""

_MOST_COUNTED = 10**12
_MOST_SECONDS = 10.0**7
_WHOLE = re.compile(r"[0-9]{1,13}")
_SECONDS = re.compile(r"[0-9]{1,8}(\.[0-9]{1,6})?")
_COUNTS = ("images", "pixels", "steps")
_TIMES = ("seconds", "gpu-seconds")


@dataclass(frozen=True)
class Usage:
    """What was used for one request or several.

    Attributes:
        images: Pictures and clips.
        pixels: Pixels of the pictures as they were made, and of all frames of the clips.
        steps: Denoising steps that were taken, summed over the pictures.
        seconds: Seconds that the worker was at it; pictures that are drawn together share theirs.
        gpu_seconds: The same, times the GPUs at work; 0 without one.
    """

    images: int = 0
    pixels: int = 0
    steps: int = 0
    seconds: float = 0.0
    gpu_seconds: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            images=self.images + other.images,
            pixels=self.pixels + other.pixels,
            steps=self.steps + other.steps,
            seconds=self.seconds + other.seconds,
            gpu_seconds=self.gpu_seconds + other.gpu_seconds,
        )

    def text(self) -> str:
        """Return the usage as the header has it; `parse_usage` reads it, to the microsecond."""
        counts = [f"{name}={getattr(self, name)}" for name in _COUNTS]
        times = [f"seconds={_plain(self.seconds)}", f"gpu-seconds={_plain(self.gpu_seconds)}"]
        return ", ".join([*counts, *times])


def usage_comment(usage: Usage) -> bytes:
    """Return the comment among events that tells a usage, with what ends it."""
    return COMMENT_START + usage.text().encode() + b"\n\n"


def parse_usage(text: str) -> Usage | None:
    """Return the usage that a text tells; None for a text that is anything else.

    Every part must be there, once and in order, and within bounds: a runtime may run files that nobody has looked at.
    """
    if len(text) > LONGEST_TEXT:
        return None
    names, _, values = zip(*(part.partition("=") for part in text.split(", ")), strict=True)
    if names != (*_COUNTS, *_TIMES):
        return None
    patterns = (_WHOLE,) * len(_COUNTS) + (_SECONDS,) * len(_TIMES)
    if not all(pattern.fullmatch(value) for pattern, value in zip(patterns, values, strict=True)):
        return None
    images, pixels, steps = map(int, values[:3])
    seconds, gpu_seconds = map(float, values[3:])
    if max(images, pixels, steps) > _MOST_COUNTED or max(seconds, gpu_seconds) > _MOST_SECONDS:
        return None
    return Usage(images=images, pixels=pixels, steps=steps, seconds=seconds, gpu_seconds=gpu_seconds)


def parse_comment(comment: bytes) -> Usage | None:
    """Return the usage of a comment without what ends it; None if it tells none."""
    text = comment.removeprefix(COMMENT_START)
    return parse_usage(text.decode()) if text != comment and text.isascii() else None


def _plain(seconds: float) -> str:
    return f"{seconds:.6f}".rstrip("0").rstrip(".")
