"""From a picture file that anybody may have made to its pixels, within bounds of memory and time.

Pillow decodes, and only the format that the file's first bytes are of; nothing that it says reaches a client, since it
quotes addresses of objects. Colour profiles are ignored. Of an animation the first frame counts.
"""

import io
import logging
from dataclasses import dataclass

from PIL import Image

from heliograph_api.errors import APIError, invalid_request
from heliograph_api.images.inputs import InputImage, sniff_image

_READS = 100_000
"""Most pieces of a file that Pillow's parsers, which are loops in Python, may ask for: 50 MB of PNG has 20,000."""
_SCANNED_PIXELS = 2**31
"""Most pixels of all scans of a JPEG together: each goes over the whole picture, and can be almost nothing."""
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to what undoes it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Decoded:
    """An input picture as it came, or reduced to a bound.

    Attributes:
        rgb: The picture in RGB, upright, on white where it is transparent.
        alpha: Its opacity in mode L; None when the file has none.
    """

    rgb: Image.Image
    alpha: Image.Image | None


class _BoundedFile(io.BytesIO):
    """A file in memory from which only so many pieces are read."""

    _left = _READS

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise OSError("the file has too many parts")
        return super().read(size)


def decode_picture(picture: InputImage, *, max_pixels: int, reduce_to: int | None = None) -> Decoded:
    """Return the pixels of an input picture.

    Args:
        picture: The picture.
        max_pixels: Most pixels that it may have; judged by its header, before it is decoded.
        reduce_to: Pixels to which a larger one is reduced, its aspect kept; None for as it is.

    Raises:
        APIError: 400, it is too large, damaged, cut off, or no picture at all; or it is a URL, which only the gateway
            fetches.
    """
    if picture.data is None:
        raise invalid_request(
            picture.field, "no URL is fetched here, only by the gateway; send the picture itself.", code="unsupported"
        )
    try:
        image = Image.open(_BoundedFile(picture.data), formats=[(sniff_image(picture.data) or "PNG").upper()])
        _check_size(picture, image, max_pixels=max_pixels)
        size = _reduced(image.size, reduce_to)
        if size != image.size:
            image.draft(None, size)
        image.load()
        return _upright(_plain(image), _orientation(image), reduce_to=reduce_to)
    except APIError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(picture, max_pixels) from None
    # Pillow raises a dozen classes for what hostile files do to it, OSError, SyntaxError and struct.error among them.
    except Exception as error:
        log.info("%s: not decoded: %s", picture.field, type(error).__name__)
        raise _invalid(picture, "it is damaged or cut off; send it whole, as PNG, JPEG, WebP or GIF") from None


def _check_size(picture: InputImage, image: Image.Image, *, max_pixels: int) -> None:
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise _too_large(picture, max_pixels)
    if image.format in {"JPEG", "MPO"} and picture.data and pixels * picture.data.count(b"\xff\xda") > _SCANNED_PIXELS:
        raise _invalid(picture, "it is a progressive JPEG of too many scans; save it as a plain one")


def _reduced(size: tuple[int, int], most: int | None) -> tuple[int, int]:
    width, height = size
    if most is None or width * height <= most:
        return size
    factor = (most / (width * height)) ** 0.5
    return max(1, int(width * factor)), max(1, int(height * factor))


def _plain(image: Image.Image) -> Image.Image:
    """Return a picture in RGB or RGBA with 8 bits a channel."""
    if image.mode.startswith("I"):
        # 16-bit grey, which Pillow would cut at 255 instead of scaling it.
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; what can't be read counts as upright, since the picture itself is whole."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # as in `decode_picture`
        return 1


def _upright(image: Image.Image, orientation: int, *, reduce_to: int | None) -> Decoded:
    size = _reduced(image.size, reduce_to)
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    if image.mode == "RGB":
        return Decoded(image, None)
    alpha = image.getchannel("A")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=alpha)
    return Decoded(white, alpha)


def _too_large(picture: InputImage, max_pixels: int) -> APIError:
    side = int(max_pixels**0.5)
    return _invalid(picture, f"it has too many pixels; send at most {max_pixels}, such as {side}x{side}")


def _invalid(picture: InputImage, problem: str) -> APIError:
    return invalid_request(picture.field, f"Invalid image: {problem}.", code="invalid_image")
