"""What a model's spec says about the requests for it."""

from dataclasses import replace

from heliograph_api.defaults import generation_defaults
from heliograph_api.errors import invalid_request
from heliograph_api.images.request import ImageRequest
from heliograph_api.serving import RequestLimits
from heliograph_api.spec import ImageModelSpec

DEFAULT_MAX_IMAGES = 10
DEFAULT_MAX_PIXELS = 2048 * 2048


def apply_model(request: ImageRequest, spec: ImageModelSpec) -> ImageRequest:
    """Return a request as its model takes it: prompts split at `|`, both sides of a size, all within its limits.

    Raises:
        APIError: 400, the model's spec does not allow it.
    """
    split = request if spec.serving.split_prompt is False else _split_prompts(request)
    sized = _with_both_sides(split, spec)
    check_limits(sized, spec.request_limits)
    _check_parameters(sized, spec)
    return sized


def check_limits(request: ImageRequest, limits: RequestLimits) -> None:
    """Raise `APIError` (400) when a request asks for more or larger pictures than a model's limits allow."""
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


def _check_parameters(request: ImageRequest, spec: ImageModelSpec) -> None:
    """Hold a request to `diffusers.enable_parameters`, LocalAI's whitelist; unset or empty means no whitelist."""
    written = (spec.diffusers and spec.diffusers.enable_parameters) or ""
    allowed = {name.strip() for name in written.split(",")} - {""}
    if not allowed:
        return
    used = {
        "negative_prompt": any(request.negative_prompts),
        "num_inference_steps": request.steps is not None,
        "image": bool(request.inputs),
        "clip_skip": bool(request.clip_skip),
    }
    fields = {"num_inference_steps": "steps"}
    for name, is_used in used.items():
        if is_used and name not in allowed:
            raise invalid_request(
                fields.get(name, name),
                f"the model's diffusers.enable_parameters leaves out {name}; leave the field out.",
                code="unsupported",
            )


def _with_both_sides(request: ImageRequest, spec: ImageModelSpec) -> ImageRequest:
    """Fill a side that is missing beside the other: what `serving.compat` has for it, else a square."""
    side = request.width or request.height
    if side is None or (request.width and request.height):
        return request
    defaults = generation_defaults(spec)
    return replace(
        request, width=request.width or defaults.width or side, height=request.height or defaults.height or side
    )


def _split_prompts(request: ImageRequest) -> ImageRequest:
    """Split a negative prompt off each prompt (LocalAI's `WHAT | NOT`), unless the request has one of its own.

    Prompts of OpenAI's clients may hold a pipe for another reason, hence the exceptions (`_split`).
    """
    if not any("|" in prompt for prompt in request.prompts):
        return request
    if any(request.negative_prompts):
        return replace(request, prompts=tuple(_unescaped(prompt) for prompt in request.prompts))
    pairs = [_split(prompt) for prompt in request.prompts]
    return replace(
        request,
        prompts=tuple(positive for positive, _ in pairs),
        negative_prompts=tuple(negative for _, negative in pairs),
    )


def _split(prompt: str) -> tuple[str, str | None]:
    """Split at the first `|` that is neither escaped nor inside braces or brackets."""
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
