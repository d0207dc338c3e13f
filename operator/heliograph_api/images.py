"""The request contract of the images endpoints, for the gateway and the runtime alike.

Clients of many systems call these endpoints, so every field is known under each name that one of them uses. An unknown
key is ignored and reported in `ignored`; a value that cannot be used is a 400 that names the field.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from heliograph_api.errors import APIError, invalid_request
from heliograph_api.serving import RequestLimits
from heliograph_api.values import as_bool, as_float, as_int, as_size, as_text, given, is_unicode

OutputFormat = Literal["png", "jpeg", "webp"]

DEFAULT_MAX_IMAGES = 10
DEFAULT_MAX_PIXELS = 2048 * 2048
MIN_SIDE = 16
MAX_STEPS = 1000
MAX_PROMPT = 32_000

ALIASES: dict[str, tuple[str, ...]] = {
    "steps": ("steps", "step", "sample_steps", "sampling_steps", "num_inference_steps"),
    "guidance_scale": ("guidance_scale", "cfg_scale"),
    "sampler": ("sampler", "sample_method", "sampler_name", "scheduler_type"),
}
"""Canonical field to every spelling of it; two spellings that disagree are a 400 that names both."""

# These change the picture, so that ignoring them would answer with something that was not asked for.
_NOT_SERVED = (
    "image", "image[]", "images", "file", "files", "ref_images", "init_images", "mask", "control_image", "control"
)  # fmt: skip
_PLAIN = (
    "prompt", "negative_prompt", "model", "n", "seed", "size", "width", "height", "clip_skip", "response_format",
    "stream", "output_format",
)  # fmt: skip
# Accepted for OpenAI's clients, which send them to every server; they have no effect on a diffusion model.
_WITHOUT_EFFECT = (
    "quality", "style", "user", "safety_identifier", "moderation", "background", "output_compression", "partial_images",
    "input_fidelity", "mode",
)  # fmt: skip


@dataclass(frozen=True)
class ImageRequest:
    """A checked request for images; None means that the request is silent.

    Attributes:
        prompts: One or more prompts; each is drawn `n` times.
        model: Requested model.
        n: Images for each prompt.
        width: Width in pixels.
        height: Height in pixels.
        steps: Inference steps.
        guidance_scale: Classifier-free guidance scale.
        sampler: Sampler, in any spelling.
        negative_prompt: Negative prompt.
        clip_skip: CLIP layers to skip from the end.
        seed: Seed of the first image; image i uses seed + i.
        response_format: How the images come back.
        output_format: File format of the images.
        ignored: Keys that this contract does not know.
    """

    prompts: tuple[str, ...]
    model: str | None = None
    n: int = 1
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    sampler: str | None = None
    negative_prompt: str | None = None
    clip_skip: int | None = None
    seed: int | None = None
    response_format: Literal["b64_json"] | None = None
    output_format: OutputFormat = "png"
    ignored: tuple[str, ...] = ()


def parse_image_request(body: Any) -> ImageRequest:
    """Return the checked form of a request body; raise `APIError` (400) naming the field at fault."""
    if not isinstance(body, Mapping):
        raise APIError(400, "The request body must be a JSON object.", code="invalid_body")
    _refuse_what_is_not_served(body)
    width, height = _size(body)
    prompts, negative = _prompts(body)
    seed = as_int(body, "seed", least=-(2**63), most=2**64 - 1)
    known = {*_PLAIN, *_WITHOUT_EFFECT, *_NOT_SERVED, *(name for names in ALIASES.values() for name in names)}
    return ImageRequest(
        prompts=prompts,
        model=as_text(body, "model", most=512),
        n=as_int(body, "n", least=1, most=1000) or 1,
        width=width,
        height=height,
        steps=_aliased(body, "steps", lambda name: as_int(body, name, least=1, most=MAX_STEPS)),
        guidance_scale=_aliased(body, "guidance_scale", lambda name: as_float(body, name, least=0, most=100)),
        sampler=_aliased(body, "sampler", lambda name: as_text(body, name, most=64)),
        negative_prompt=as_text(body, "negative_prompt", most=MAX_PROMPT) or negative,
        clip_skip=as_int(body, "clip_skip", least=0, most=24),
        seed=None if seed is None or seed < 0 else seed % 2**32,
        response_format=_response_format(body),
        output_format=_output_format(body),
        ignored=tuple(sorted(str(key) for key in body if key not in known and is_unicode(str(key)))),
    )


def requested_model(body: Any) -> str | None:
    """Return the `model` of a request body, or None when it is absent, null or empty."""
    return as_text(body, "model", most=512) if isinstance(body, Mapping) else None


def check_limits(request: ImageRequest, limits: RequestLimits) -> None:
    """Raise `APIError` (400) when a request asks for more or larger images than a model's limits allow."""
    most = limits.max_images or DEFAULT_MAX_IMAGES
    wanted = request.n * len(request.prompts)
    if wanted > most:
        at_fault = "n" if request.n > 1 else "prompt"
        raise invalid_request(
            at_fault, f"{wanted} images were asked for; this model draws at most {most} in one request."
        )
    pixels = limits.max_pixels or DEFAULT_MAX_PIXELS
    if request.width and request.height and request.width * request.height > pixels:
        side = int(pixels**0.5) // 64 * 64
        raise invalid_request(
            "size", f"{request.width}x{request.height} is too large; ask for at most {side}x{side} in all."
        )


def _aliased(body: Mapping[str, Any], field: str, read: Any) -> Any:
    values = {name: read(name) for name in ALIASES[field] if given(body, name)}
    if len(set(values.values())) > 1:
        first = next(iter(values))
        second = next(name for name in values if values[name] != values[first])
        raise invalid_request(
            first,
            f"{first} and {second} name the same setting and disagree; send one of them.",
            code="conflicting_fields",
        )
    return next(iter(values.values()), None)


def _size(body: Mapping[str, Any]) -> tuple[int | None, int | None]:
    size = as_size(body, "size", least=MIN_SIDE)
    if size:
        return size
    width = as_int(body, "width", least=MIN_SIDE, most=65_536)
    height = as_int(body, "height", least=MIN_SIDE, most=65_536)
    return width or height, height or width


def _prompts(body: Mapping[str, Any]) -> tuple[tuple[str, ...], str | None]:
    """Return the prompts and the negative prompt that a `|` splits off, which `negative_prompt` overrides."""
    prompt = body.get("prompt")
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(prompts, list) or not prompts or not all(isinstance(text, str) for text in prompts):
        raise invalid_request(
            "prompt", "is required: a string that says what to draw.", code="missing_required_parameter"
        )
    for text in prompts:
        if not text.strip():
            raise invalid_request("prompt", "must not be empty; say what to draw.")
        if len(text) > MAX_PROMPT:
            raise invalid_request("prompt", f"must have at most {MAX_PROMPT} characters.")
        if not is_unicode(text):
            raise invalid_request("prompt", "must be Unicode text; it has half of a surrogate pair.")
    if as_text(body, "negative_prompt", most=MAX_PROMPT):
        return tuple(prompts), None
    split = [_split_negative(text) for text in prompts]
    return tuple(positive for positive, _ in split), next((negative for _, negative in split if negative), None)


def _split_negative(prompt: str) -> tuple[str, str | None]:
    """Split at the first `|` that is neither escaped nor inside braces or brackets (LocalAI's negative prompt)."""
    depth = 0
    for index, character in enumerate(prompt):
        if character in "{[":
            depth += 1
        elif character in "}]":
            depth = max(0, depth - 1)
        elif character == "|" and depth == 0 and prompt[index - 1 : index] != "\\":
            positive, negative = prompt[:index].strip(), prompt[index + 1 :].strip()
            return (_unescaped(positive), _unescaped(negative) or None) if positive else (prompt, None)
    return _unescaped(prompt), None


def _unescaped(text: str) -> str:
    return text.replace("\\|", "|")


def _response_format(body: Mapping[str, Any]) -> Literal["b64_json"] | None:
    value = as_text(body, "response_format", most=64)
    if value is None:
        return None
    if value != "b64_json":
        raise invalid_request("response_format", f"{value!r} is not served; send b64_json, or leave the field out.")
    return "b64_json"


def _output_format(body: Mapping[str, Any]) -> OutputFormat:
    value = (as_text(body, "output_format", most=64) or "png").lower()
    formats: dict[str, OutputFormat] = {"png": "png", "jpeg": "jpeg", "jpg": "jpeg", "webp": "webp"}
    if value not in formats:
        raise invalid_request("output_format", f"{value!r} is not served; send png, jpeg or webp.")
    return formats[value]


def _refuse_what_is_not_served(body: Mapping[str, Any]) -> None:
    for name in _NOT_SERVED:
        if given(body, name):
            raise invalid_request(name, "this endpoint draws from text alone; leave the field out.", code="unsupported")
    if as_bool(body, "stream"):
        raise invalid_request("stream", "streaming is not served; send false, or leave it out.", code="unsupported")
