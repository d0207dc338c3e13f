"""Which part of a picture is drawn anew, and putting the rest back afterwards.

A mask is white (255) where the picture is drawn anew, and black (0) where it is kept; there is nothing in between, as
the pipelines round it anyway.
"""

from PIL import Image, ImageChops, ImageFilter

from heliograph_api.errors import APIError, invalid_request
from heliograph_api.images.inputs import InputImage
from heliograph_runtime.engines.protocol import Inputs, Picture, Raster
from heliograph_runtime.images.decoding import Decoded
from heliograph_runtime.images.sizes import Size

_HALF = 128
_GREY = 32
"""Difference from grey in any channel up to which a mask counts as painted in black and white."""
_SOFT_PIXELS = 3
"""Width of the seam inside a mask in which old and new picture are mixed."""
_MARK = "erase that part, or paint it white"


def mask_of_transparency(alpha: Image.Image | None) -> Image.Image | None:
    """Return the mask that a picture's transparent part stands for (OpenAI's rule); None when it has none."""
    mask = _rounded(ImageChops.invert(alpha)) if alpha else None
    return mask if mask and mask.getbbox() else None


def mask_of_file(field: InputImage, decoded: Decoded, *, inverted: bool = False, opaque: bool = False) -> Image.Image:
    """Return the mask that a file says: its transparent part if it has one, else its white one.

    Args:
        field: Field that the file came in, for errors.
        decoded: The file.
        inverted: Whether that part is what to keep.
        opaque: Whether the opaque part is meant where it has a transparent one (AUTOMATIC1111's rule).

    Raises:
        APIError: 400, there is nothing to draw anew.
    """
    mask = mask_of_transparency(decoded.alpha)
    if mask is None:
        if decoded.alpha is not None and not _is_grey(decoded.rgb):
            remedy = "erase what is to be kept" if inverted else _MARK
            raise _nothing(field, "a coloured picture without a transparent part", remedy)
        mask = _rounded(decoded.rgb.convert("L"))
    elif opaque:
        mask = ImageChops.invert(mask)
    if inverted:
        mask = ImageChops.invert(mask)
    if mask.getbbox() is None:
        if inverted:
            raise _nothing(
                field, "transparent or white everywhere, and inverted", "paint black what is to be drawn anew"
            )
        raise _nothing(field, "neither transparent nor white anywhere", _MARK)
    return mask


def fit_mask(mask: Image.Image, size: Size) -> Raster:
    """Return a mask in the size to draw; one so thin that rounding leaves nothing of it marks all that it touches."""
    if mask.size == size:
        return Raster(*size, 1, mask.tobytes())
    fitted = _rounded(mask.resize(size, Image.Resampling.BILINEAR))
    if fitted.getbbox() is None:
        fitted = _touched(mask, size)
    return Raster(*size, 1, fitted.tobytes())


def keep_outside(picture: Picture, inputs: Inputs) -> Picture:
    """Return what was drawn with the original pixels outside the mask, which an autoencoder does not give back exactly.

    The seam is softened inside the mask only.
    """
    if inputs.mask is None:
        return picture
    size = picture.width, picture.height
    drawn = Image.frombytes("RGB", size, picture.pixels)
    original = Image.frombytes("RGB", size, inputs.images[0].pixels)
    weight = _softened(Image.frombytes("L", size, inputs.mask.pixels))
    return Picture(*size, Image.composite(drawn, original, weight).tobytes())


def _softened(mask: Image.Image) -> Image.Image:
    """Return the weight of the new picture: from almost 0 at the inner edge of a mask to 255 a few pixels inside it."""
    weight = Image.new("L", mask.size)
    for _ in range(_SOFT_PIXELS):
        weight = ImageChops.add(weight, mask.point(lambda value: value // _SOFT_PIXELS))
        mask = mask.filter(ImageFilter.MinFilter(3))
    return weight


def _touched(mask: Image.Image, size: Size) -> Image.Image:
    """Return a mask in another size, white wherever any of it is."""
    # In whole numbers the mean would be 0 where a single pixel of very many is white.
    means = mask.convert("F").resize(size, Image.Resampling.BOX)
    return means.point(lambda mean: mean * (mask.width * mask.height)).convert("L")


def _rounded(image: Image.Image) -> Image.Image:
    return image.point(lambda value: 255 if value >= _HALF else 0)


def _is_grey(image: Image.Image) -> bool:
    colour = ImageChops.difference(image, image.convert("L").convert("RGB"))
    return colour.point(lambda value: value > _GREY).getbbox() is None


def _nothing(field: InputImage, what: str, remedy: str) -> APIError:
    return invalid_request(field.field, f"marks nothing to draw anew: it is {what}; {remedy}.")
