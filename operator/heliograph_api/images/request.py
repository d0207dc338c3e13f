"""From what a body says to a checked request.

An unknown key is ignored and reported in `ignored`; a value that can't be used is a 400 that names the field.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from heliograph_api.errors import APIError, invalid_request
from heliograph_api.images.extra_args import expanded
from heliograph_api.images.fields import (
    KNOWN,
    MAX_PROMPT,
    MAX_SIDE,
    MIN_SIDE,
    REFUSED,
    SAMPLER_NAMES,
    SCHEDULE_NAMES,
    agreed,
    read_fields,
)
from heliograph_api.images.inputs import InputImage
from heliograph_api.images.paths import IMAGE_PATHS, Operation
from heliograph_api.images.stream_options import Stream, read_stream
from heliograph_api.samplers import is_sampler, is_schedule, resolve_sampling
from heliograph_api.values import as_int, as_size, as_text, as_word, given, is_unicode

OutputFormat = Literal["png", "jpeg", "webp"]
Quality = Literal["low", "medium", "high", "xhigh", "max"]
ResponseFormat = Literal["url", "b64_json", "both"]

_NEEDS_PICTURE: dict[Operation, str] = {
    "edit": "the picture to change",
    "variation": "the picture to vary",
    "inpaint": "the picture to change",
    "upscale": "the picture to enlarge",
}


@dataclass(frozen=True)
class ImageRequest:
    """A checked request for pictures or clips; None means that the request is silent.

    Attributes:
        operation: What the path is for.
        prompts: One or more prompts, each drawn `n` times; a single empty one where pictures are all there is.
        negative_prompts: One for each prompt.
        model: Requested model.
        n: Pictures for each prompt.
        width: Width in pixels.
        height: Height in pixels.
        steps: Inference steps.
        guidance_scale: Classifier-free guidance scale.
        guidance: Distilled guidance scale.
        true_cfg_scale: Classifier-free guidance scale beside a distilled one.
        sampler: Sampler, a canonical name of `heliograph_api.samplers`.
        schedule: Noise schedule, likewise.
        clip_skip: CLIP layers to skip from the end.
        loras: Name, or place as digits, and weight of each adapter that is wanted; empty when the request is silent.
        seed: Seed of the first picture, picture i uses seed + i; negative for a random one whatever the defaults say.
        images: Pictures to change or to refer to.
        reference_images: Pictures to refer to.
        mask: What to draw anew.
        invert_mask: Whether the mask says what to keep instead.
        opaque_mask: Whether a mask's opaque part is meant, where it has a transparent one.
        control_image: What the ControlNet follows.
        last_image: Last frame of a clip.
        strength: How much of a picture is drawn anew, 0 to 1.
        control_strength: Weight of the control image.
        scale: Factor of an enlargement.
        num_frames: Frames of a clip.
        fps: Frames for each second.
        seconds: Length of a clip.
        response_format: How the pictures come back.
        output_format: File format of the pictures.
        output_compression: Quality of JPEG and WebP, 0 to 100.
        quality: OpenAI's quality, to be echoed.
        stream: What to stream; None for one answer.
        ignored: Keys that the contract does not know.
    """

    operation: Operation
    prompts: tuple[str, ...]
    negative_prompts: tuple[str | None, ...]
    model: str | None = None
    n: int = 1
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    guidance: float | None = None
    true_cfg_scale: float | None = None
    sampler: str | None = None
    schedule: str | None = None
    clip_skip: int | None = None
    loras: tuple[tuple[str, float], ...] = ()
    seed: int | None = None
    images: tuple[InputImage, ...] = ()
    reference_images: tuple[InputImage, ...] = ()
    mask: InputImage | None = None
    invert_mask: bool = False
    opaque_mask: bool = False
    control_image: InputImage | None = None
    last_image: InputImage | None = None
    strength: float | None = None
    control_strength: float | None = None
    scale: int | None = None
    num_frames: int | None = None
    fps: int | None = None
    seconds: float | None = None
    response_format: ResponseFormat | None = None
    output_format: OutputFormat = "png"
    output_compression: int | None = None
    quality: Quality | None = None
    stream: Stream | None = None
    ignored: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[InputImage, ...]:
        """Return all input pictures."""
        single = (self.mask, self.control_image, self.last_image)
        return (*self.images, *self.reference_images, *(image for image in single if image))


def parse_image_request(content: Any, *, path: str) -> ImageRequest:
    """Return the checked form of a request.

    Args:
        content: What the body says (`heliograph_api.body.parse_body`).
        path: Path of the request, one of `IMAGE_PATHS`.

    Raises:
        APIError: 400, naming the field at fault.
    """
    if not isinstance(content, Mapping):
        raise APIError(400, "The request body must be a JSON object or a form.", code="invalid_body")
    _refuse(content)
    content, extra = expanded(content)
    operation = IMAGE_PATHS[path]
    values = read_fields(content)
    pictured = bool(values["images"] or values["reference_images"])
    _check_pictures(operation, pictured=pictured, masked=bool(values["mask"]))
    prompts = _prompts(content, needed=not pictured)
    sampler, schedule = _sampling(content)
    width, height = _size(content)
    return ImageRequest(
        operation=operation,
        prompts=prompts,
        negative_prompts=(as_text(content, "negative_prompt", most=MAX_PROMPT),) * len(prompts),
        width=width,
        height=height,
        sampler=sampler,
        schedule=schedule,
        response_format=_response_format(content),
        output_format=_output_format(content),
        quality=_quality(content),
        stream=read_stream(content, path=path),
        ignored=tuple(sorted(key for key in (*map(str, content), *extra) if key not in KNOWN and is_unicode(key))),
        **values | {"n": values["n"] or 1, "seed": _seed(values["seed"])},
    )


def _refuse(content: Mapping[str, Any]) -> None:
    for name, remedy in REFUSED.items():
        value = content.get(name)
        if given(content, name) and not (isinstance(value, bool | str) and str(value).lower() in {"false", "0"}):
            raise invalid_request(name, f"{remedy}.", code="unsupported")


def _check_pictures(operation: Operation, *, pictured: bool, masked: bool) -> None:
    if operation in _NEEDS_PICTURE and not pictured:
        raise invalid_request("image", f"is required: {_NEEDS_PICTURE[operation]}.", code="missing_required_parameter")
    if masked and not pictured:
        raise invalid_request(
            "image", "is required with a mask: the picture to change.", code="missing_required_parameter"
        )


def _prompts(content: Mapping[str, Any], *, needed: bool) -> tuple[str, ...]:
    """Return the prompts; whether a model can do without one, only its capabilities tell."""
    prompt = content.get("prompt")
    if prompt is None and not needed:
        return ("",)
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(prompts, list) or not prompts or not all(isinstance(text, str) for text in prompts):
        raise invalid_request(
            "prompt", "is required: a string that says what to draw.", code="missing_required_parameter"
        )
    for text in prompts:
        if needed and not text.strip():
            raise invalid_request("prompt", "must not be empty; say what to draw.")
        if len(text) > MAX_PROMPT:
            raise invalid_request("prompt", f"must have at most {MAX_PROMPT} characters.")
        if not is_unicode(text):
            raise invalid_request("prompt", "must be Unicode text; it has half of a surrogate pair.")
    return tuple(prompts)


def _sampling(content: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return sampler and schedule; `scheduler` means either, since LocalAI and GPUStack use the word differently."""
    samplers = {name: as_text(content, name, most=64) for name in SAMPLER_NAMES if given(content, name)}
    schedules = {name: as_text(content, name, most=64) for name in SCHEDULE_NAMES if given(content, name)}
    either = schedules.get("scheduler")
    if either and is_sampler(either) and (not samplers or not is_schedule(either)):
        samplers["scheduler"] = schedules.pop("scheduler")
    agreed({name: resolve_sampling(value, None, fields=(name, "")) for name, value in samplers.items()})
    agreed({name: resolve_sampling(None, value, fields=("", name)) for name, value in schedules.items()})
    (sampler_field, sampler), (schedule_field, schedule) = (
        next(iter(names.items()), ("", None)) for names in (samplers, schedules)
    )
    return resolve_sampling(sampler, schedule, fields=(sampler_field, schedule_field))


def _seed(seed: int | None) -> int | None:
    """Return a seed of 32 bits, which is what every engine takes, or -1 for a random one."""
    if seed is None:
        return None
    return seed % 2**32 if seed >= 0 else -1


def _size(content: Mapping[str, Any]) -> tuple[int | None, int | None]:
    size = as_size(content, "size", least=MIN_SIDE, most=MAX_SIDE)
    if size:
        return size
    width = as_int(content, "width", least=MIN_SIDE, most=MAX_SIDE)
    height = as_int(content, "height", least=MIN_SIDE, most=MAX_SIDE)
    return width, height


def _response_format(content: Mapping[str, Any]) -> ResponseFormat | None:
    formats: dict[str, ResponseFormat] = {"url": "url", "b64_json": "b64_json", "both": "both"}
    value = as_word(content, "response_format")
    if value is not None and value not in formats:
        raise invalid_request("response_format", f"{value!r} is not served; send url, b64_json or both.")
    return formats[value] if value else None


def _output_format(content: Mapping[str, Any]) -> OutputFormat:
    background = as_word(content, "background")
    if background not in (None, "auto", "opaque"):
        raise invalid_request("background", f"{background!r} is not served: pictures are opaque; send auto or opaque.")
    formats: dict[str, OutputFormat] = {"png": "png", "jpeg": "jpeg", "jpg": "jpeg", "webp": "webp"}
    value = as_word(content, "output_format") or "png"
    if value not in formats:
        raise invalid_request("output_format", f"{value!r} is not served; send png, jpeg or webp.")
    return formats[value]


def _quality(content: Mapping[str, Any]) -> Quality | None:
    echoed: dict[str | None, Quality] = {
        "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"
    }  # fmt: skip
    return echoed.get(as_word(content, "quality"))
