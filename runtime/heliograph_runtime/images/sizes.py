"""How large a picture is drawn, and how long a clip."""

from heliograph_api.defaults import GenerationDefaults
from heliograph_api.errors import invalid_request
from heliograph_api.images.fields import MAX_SIDE
from heliograph_api.images.request import ImageRequest
from heliograph_runtime.engines.protocol import Capabilities, Mode, VideoCapabilities

Size = tuple[int, int]
"""Width and height in pixels."""

UPSCALE = 2
"""Factor of an enlargement where the request names none (LocalAI's)."""


def choose_size(
    request: ImageRequest,
    mode: Mode,
    *,
    capabilities: Capabilities,
    defaults: GenerationDefaults,
    max_pixels: int,
    picture: Size | None,
) -> Size:
    """Return the size to draw: the request's, else the model's default, else the picture's aspect, else the native one.

    Sides are rounded to the nearest multiple that the model can draw. A picture's aspect is drawn with as many pixels
    as the native size has. Where a mode's size can't be chosen, what the request says of it has no effect.

    Args:
        request: The checked request.
        mode: What is drawn from.
        capabilities: What the model can do.
        defaults: The ImageModel's own defaults.
        max_pixels: Most pixels of a picture, whatever the device allows.
        picture: Size of the picture to go by.

    Raises:
        APIError: 400, the size is more than the device or the limits allow.
    """
    most = min(max_pixels, capabilities.max_pixels or max_pixels)
    multiple = capabilities.size_multiple
    if mode == "upscale" and picture:
        return upscaled_size(request, picture, max_pixels=most)
    if capabilities.modes[mode].sized and request.width and request.height:
        width, height = _rounded(request.width, multiple), _rounded(request.height, multiple)
        if capabilities.max_pixels and width * height > capabilities.max_pixels:
            side = max(multiple, int(capabilities.max_pixels**0.5) // multiple * multiple)
            raise invalid_request(
                "size", f"{width}x{height} is too large for this model's device; ask for at most {side}x{side} in all."
            )
        return width, height
    if picture is None or (defaults.width and defaults.height):
        return default_size(capabilities, defaults, max_pixels=max_pixels)
    return _scaled(picture, min(most, capabilities.width * capabilities.height), multiple)


def default_size(capabilities: Capabilities, defaults: GenerationDefaults, *, max_pixels: int) -> Size:
    """Return the size of a picture where neither the request nor a picture says: the model's default, else the native.

    Args:
        capabilities: What the model can do.
        defaults: The ImageModel's own defaults.
        max_pixels: Most pixels of a picture, whatever the device allows.
    """
    most = min(max_pixels, capabilities.max_pixels or max_pixels)
    width, height = capabilities.width, capabilities.height
    if defaults.width and defaults.height:
        width, height = defaults.width, defaults.height
    return _fitted((width, height), most, capabilities.size_multiple)


def upscaled_size(request: ImageRequest, picture: Size, *, max_pixels: int) -> Size:
    """Return the size of an enlargement; raise `APIError` (400) when it has too many pixels."""
    factor = request.scale or UPSCALE
    width, height = (side * factor for side in picture)
    if width * height > max_pixels:
        side = int((max_pixels / factor**2) ** 0.5)
        raise invalid_request(
            "image",
            f"{picture[0]}x{picture[1]} is too large to be enlarged by {factor}; send at most {side}x{side} in all.",
        )
    if max(width, height) > MAX_SIDE:
        raise invalid_request(
            "image",
            f"{picture[0]}x{picture[1]} is too long to be enlarged by {factor}; send at most {MAX_SIDE // factor} "
            "pixels a side.",
        )
    return width, height


def choose_frames(request: ImageRequest, video: VideoCapabilities) -> tuple[int, int]:
    """Return a clip's number of frames and the frames for each second: the request's, else the model's own.

    The number is rounded to the nearest that the model can draw.

    Raises:
        APIError: 400, these are more or fewer frames than the model draws.
    """
    fps = request.fps or video.fps
    field = "num_frames" if request.num_frames or not request.seconds else "seconds"
    wanted = request.num_frames or (round(request.seconds * fps) if request.seconds else video.frames)
    if wanted > video.max_frames:
        raise invalid_request(
            field, f"{wanted} frames at {fps} a second are too many for this model; ask for at most {video.max_frames}."
        )
    if wanted < video.min_frames:
        raise invalid_request(
            field, f"{wanted} frames are too few for this model; ask for at least {video.min_frames}."
        )
    frames = _nearest(wanted - 1, video.frames_multiple) + 1
    return (frames if frames <= video.max_frames else frames - video.frames_multiple), fps


def _fitted(size: Size, most: int, multiple: int) -> Size:
    """Return a size in multiples, made smaller only where it is more than `most` pixels."""
    width, height = size
    return _scaled(size, min(most, width * height), multiple)


def _scaled(size: Size, pixels: int, multiple: int) -> Size:
    """Return a size of so many pixels and the same aspect, in multiples; no side is longer than any may be."""
    factor = (pixels / (size[0] * size[1])) ** 0.5
    width, height = (_rounded(min(side * factor, MAX_SIDE), multiple) for side in size)
    if width * height <= pixels:
        return width, height
    # Rounded down, so that a limit is one; in a square of the native size nothing is lost by it.
    width, height = (max(multiple, int(min(side * factor, MAX_SIDE) + 1e-6) // multiple * multiple) for side in size)
    return width, height


def _rounded(pixels: float, multiple: int) -> int:
    return max(multiple, _nearest(pixels, multiple))


def _nearest(value: float, multiple: int) -> int:
    return int(value + multiple / 2) // multiple * multiple
