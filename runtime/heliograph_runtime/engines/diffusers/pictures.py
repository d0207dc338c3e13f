"""Pictures between the protocol's raw bytes and the PIL images that pipelines take and return."""

from collections.abc import Sequence

from PIL import Image

from heliograph_runtime.engines.protocol import Picture, Raster


def to_image(raster: Raster) -> Image.Image:
    """Return an input picture for a pipeline, a mask as grey."""
    mode = "RGB" if raster.channels == 3 else "L"
    return Image.frombytes(mode, (raster.width, raster.height), raster.pixels)


def to_picture(image: Image.Image) -> Picture:
    """Return a picture that a pipeline drew."""
    return Picture(image.width, image.height, image.convert("RGB").tobytes())


def to_clip(frames: Sequence[Image.Image]) -> Picture:
    """Return a clip that a pipeline drew, frames of one size."""
    first = frames[0]
    pixels = b"".join(frame.convert("RGB").tobytes() for frame in frames)
    return Picture(first.width, first.height, pixels, frames=len(frames))
