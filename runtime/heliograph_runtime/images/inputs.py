"""The input pictures of a request: decoded, then brought to what the plan says that they are drawn from."""

from dataclasses import dataclass

from PIL import Image

from heliograph_api.images.inputs import InputImage
from heliograph_api.images.request import ImageRequest
from heliograph_runtime.engines.protocol import Inputs, Raster, Sampling
from heliograph_runtime.images.decoding import Decoded, decode_picture
from heliograph_runtime.images.masks import fit_mask, mask_of_file, mask_of_transparency
from heliograph_runtime.images.sizes import Size


@dataclass(frozen=True, eq=False)
class DecodedInputs:
    """All input pictures of one request.

    Attributes:
        images: Pictures to change or to refer to, in this order.
        mask: What to draw anew in white, else black, of its own size and in mode L; None when no mask came.
        erased: The mask that the first picture's transparent part stands for, likewise; None when it has none.
        control: The control image.
        last_image: Picture of a clip's last frame.
    """

    images: tuple[Decoded, ...] = ()
    mask: Image.Image | None = None
    erased: Image.Image | None = None
    control: Image.Image | None = None
    last_image: Image.Image | None = None

    @property
    def size(self) -> Size | None:
        """Return the size of the picture whose aspect the result has, or None."""
        leading = (*(image.rgb for image in self.images[:1]), self.control)
        return next((image.size for image in leading if image), None)


def decode_inputs(request: ImageRequest, *, max_pixels: int, reduce_to: int | None = None) -> DecodedInputs:
    """Return the decoded input pictures of a request; slow, so it belongs off the event loop.

    Args:
        request: The checked request.
        max_pixels: Most pixels that one of them may have.
        reduce_to: Pixels to which larger ones are reduced; None for none.

    Raises:
        APIError: 400, one of them can't be used.
    """

    def decode(picture: InputImage) -> Decoded:
        return decode_picture(picture, max_pixels=max_pixels, reduce_to=reduce_to)

    def decode_mask(field: InputImage) -> Image.Image:
        return mask_of_file(field, decode(field), inverted=request.invert_mask, opaque=request.opaque_mask)

    images = tuple(decode(picture) for picture in (*request.images, *request.reference_images))
    return DecodedInputs(
        images=images,
        mask=decode_mask(request.mask) if request.mask else None,
        erased=mask_of_transparency(images[0].alpha) if images else None,
        control=decode(request.control_image).rgb if request.control_image else None,
        last_image=decode(request.last_image).rgb if request.last_image else None,
    )


def fit_inputs(decoded: DecodedInputs, sampling: Sampling) -> Inputs | None:
    """Return the pictures as the engine takes them; None when nothing is drawn from any.

    A picture that is changed, its mask and a control image get the size to draw. One that is only referred to or
    enlarged stays as it is. Where the mode takes a mask and none came, all of it is drawn anew. Slow, so it belongs off
    the event loop.
    """
    size = sampling.width, sampling.height
    changed = sampling.mode in {"image", "inpaint"}
    images = tuple(_raster(image.rgb, size if changed else image.rgb.size) for image in decoded.images)
    whole = Image.new("L", (1, 1), 255)
    mask = (decoded.mask or decoded.erased or whole) if sampling.mode == "inpaint" else None
    inputs = Inputs(
        images=images,
        mask=fit_mask(mask, size) if mask else None,
        control=_raster(decoded.control, size) if decoded.control else None,
        last_image=_raster(decoded.last_image, size) if decoded.last_image else None,
    )
    return inputs if images or inputs.control else None


def _raster(image: Image.Image, size: Size) -> Raster:
    fitted = image if image.size == size else image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return Raster(*size, 3, fitted.tobytes())
