"""What a request is drawn from, out of what its model can do."""

from heliograph_api.errors import APIError, invalid_request
from heliograph_api.images.request import ImageRequest
from heliograph_runtime.engines.protocol import Capabilities, Mode, ModeCapabilities


def choose_mode(request: ImageRequest, capabilities: Capabilities, *, transparent: bool = False) -> Mode:
    """Return the mode that a request is for.

    Args:
        request: The checked request.
        capabilities: What the model can do.
        transparent: Whether its first picture has a transparent part, which stands for a mask.

    Raises:
        APIError: 400, the model has no such mode, or does not take so many pictures in it.
    """
    _check_kind(request, capabilities)
    mode = _mode(request, capabilities, transparent=transparent)
    _check_pictures(request, capabilities, mode)
    return mode


def enlarges_without_model(request: ImageRequest, capabilities: Capabilities) -> bool:
    """Return whether a request asks for an enlargement that the model has no mode for."""
    return request.operation == "upscale" and "upscale" not in capabilities.modes


def unsupported(field: str, problem: str) -> APIError:
    """Return the 400 for a field that asks for what the model can't do."""
    return invalid_request(field, problem, code="unsupported")


def lacks(request: ImageRequest, able: ModeCapabilities, field: str) -> bool:
    """Return whether a field that a mode has is without effect for a request, for it comes with a control image."""
    return request.control_image is not None and field in able.control_lacks


def without_control(field: str) -> APIError:
    """Return the 400 for a field that a mode has only where there is no control image."""
    return unsupported(field, "this model does not have it beside a control image; leave one of the two out.")


def _check_kind(request: ImageRequest, capabilities: Capabilities) -> None:
    """Refuse what only clips have where pictures are drawn, and the other way round."""
    if capabilities.video is None:
        if request.operation == "video":
            raise unsupported("model", "draws pictures, not clips; ask for a picture, or choose a model for clips.")
        for field in ("num_frames", "fps", "seconds", "last_image"):
            if getattr(request, field) is not None:
                raise unsupported(field, "this model draws pictures, not clips; leave the field out.")
    elif request.last_image and not capabilities.video.last_image:
        raise unsupported(request.last_image.field, "this model takes no last picture; leave the field out.")


def _mode(request: ImageRequest, capabilities: Capabilities, *, transparent: bool) -> Mode:
    modes = capabilities.modes
    if request.operation == "upscale":
        return "upscale"
    if not (request.images or request.reference_images):
        if "text" not in modes:
            raise invalid_request(
                "image", "is required: this model draws from a picture.", code="missing_required_parameter"
            )
        return "text"
    if request.mask:
        if "inpaint" not in modes:
            raise unsupported(request.mask.field, "this model can't draw a part of a picture anew; leave it out.")
        return "inpaint"
    count = len(request.images) + len(request.reference_images)
    erasable = "inpaint" in modes and count <= modes["inpaint"].max_images
    if transparent and erasable and request.operation in {"edit", "inpaint"}:
        return "inpaint"
    if request.operation == "inpaint":
        raise invalid_request("mask", "is required: what to draw anew.", code="missing_required_parameter")
    return _picture_mode(request, capabilities)


def _picture_mode(request: ImageRequest, capabilities: Capabilities) -> Mode:
    """Return the mode for pictures without a mask: what a field is for, else what the model does first.

    More pictures than that mode has use for are for one that has. A model that draws under masks alone edits all of a
    picture, since clients of GPUStack and OpenAI may leave the mask out.
    """
    modes = capabilities.modes
    served: list[Mode] = [mode for mode in modes if mode in {"image", "reference"}]
    if request.reference_images or request.strength is not None:
        asked: Mode = "reference" if request.reference_images else "image"
        served.sort(key=lambda mode: mode != asked)
    if not served and "inpaint" in modes and request.operation == "edit":
        return "inpaint"
    if not served:
        field = (*request.images, *request.reference_images)[0].field
        what = "needs a mask beside the picture" if "inpaint" in modes else "draws from text alone; leave it out"
        raise unsupported(field, f"this model {what}.")
    count = len(request.images) + len(request.reference_images)
    most = max(served, key=lambda mode: modes[mode].max_images)
    return next((mode for mode in served if count <= modes[mode].max_images), most)


def _check_pictures(request: ImageRequest, capabilities: Capabilities, mode: Mode) -> None:
    pictures = (*request.images, *request.reference_images)
    most = capabilities.modes[mode].max_images
    if len(pictures) > most:
        raise unsupported(pictures[0].field, f"this model uses {most} of {len(pictures)} pictures; send fewer.")
    if request.control_image and not capabilities.modes[mode].control:
        others = [name for name, other in capabilities.modes.items() if other.control]
        where = (
            f"this model's ControlNet is for mode {' and '.join(others)}" if others else "this model has no ControlNet"
        )
        raise unsupported(request.control_image.field, f"{where}; leave the field out.")
