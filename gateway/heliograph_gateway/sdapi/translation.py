"""Between AUTOMATIC1111's requests and this project's; its keys are those of that project's `/docs` page."""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any

from heliograph_api.errors import APIError, invalid_request
from heliograph_api.images.extra_args import skipped_layers, without_block
from heliograph_api.images.inputs import sniff_image
from heliograph_api.images.request import ImageRequest, parse_image_request
from heliograph_api.values import as_bool, as_int, given
from heliograph_gateway.forwarding import WholeAnswer

CHECKPOINT = "sd_model_checkpoint"
"""Option that names the model."""

TEXT_PATH = "/v1/images/generations"
PICTURE_PATH = "/v1/images/edits"

# Keys that mean the same in both, under names that the request contract knows. `lora`, and `extra_images` below, are
# those of stable-diffusion.cpp's server, which has the same API.
_SAME = (
    "prompt", "negative_prompt", "seed", "steps", "cfg_scale", "width", "height", "sampler_name", "scheduler",
    "denoising_strength", "init_images", "mask", "lora",
)  # fmt: skip
_REFUSED = {
    "enable_hr": "no second pass is drawn; draw a larger size, or enlarge the picture with images/upscale",
}
_LABELS = {"steps": "Steps", "sampler_name": "Sampler", "scheduler": "Schedule type", "cfg_scale": "CFG scale"}
"""What its text on a picture calls the keys of a request, in its order."""
_OFF = (None, False, "", "null", "false", "0")
"""0, which AUTOMATIC1111 has for false in places, is equal to it."""
_SIDE = 512
"""What AUTOMATIC1111 has for a side that a request leaves out; without both a model's own size is better."""
_NOT_SENT_BACK = {"init_images", "mask", "extra_images", "alwayson_scripts"}
_SNIFFED = 64
"""Characters of base64 that tell a picture."""


def image_content(body: Any) -> dict[str, Any]:
    """Return the request for pictures that an AUTOMATIC1111 request stands for.

    Raises:
        APIError: 400, a value can't be used, or asks for something that is not there.
    """
    if not isinstance(body, Mapping):
        raise APIError(400, "The request body must be a JSON object.", code="invalid_body")
    for key, remedy in _REFUSED.items():
        if body.get(key) not in _OFF:
            raise invalid_request(key, f"{remedy}.", code="unsupported")
    if any(_is_picture(text) for text in _texts(body.get("alwayson_scripts"))):
        raise invalid_request(
            "alwayson_scripts",
            "no scripts are run, and one of them holds a picture; leave it out. What a ControlNet follows is "
            "control_image of /v1/images/generations.",
            code="unsupported",
        )
    content = {key: body[key] for key in _SAME if given(body, key)}
    if given(body, "extra_images"):
        content["ref_images"] = body["extra_images"]
    if given(body, "mask"):
        content["opaque_mask"] = True
    if _is_inverted(body):
        content["invert_mask"] = True
    if given(body, "width") != given(body, "height"):
        content = {"width": _SIDE, "height": _SIDE, **content}
    overrides = body.get("override_settings")
    overrides = overrides if isinstance(overrides, Mapping) else {}
    if given(overrides, CHECKPOINT):
        content["model"] = overrides[CHECKPOINT]
    for settings, key in ((body, "clip_skip"), (overrides, "CLIP_stop_at_last_layers")):
        # The first is stable-diffusion.cpp's, which has the same API. Both count the layer to stop at, and the contract
        # those to skip; -1 and 0 are how their clients write "as it comes".
        layers = skipped_layers(settings, key)
        if layers is not None:
            content["clip_skip"] = layers
    batches, size = (as_int(body, key, least=1, most=1000) or 1 for key in ("n_iter", "batch_size"))
    return {**content, "n": batches * size, "response_format": "b64_json"}


class WebUIAnswer(WholeAnswer):
    """An images response, passed on as AUTOMATIC1111 writes it."""

    remedy = "ask for fewer or smaller pictures"

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        """Make the passage; `parameters` are sent back, input pictures aside."""
        kept = {key: value for key, value in parameters.items() if key not in _NOT_SENT_BACK}
        # A form may hold files, and JSON has none.
        self._parameters = json.loads(json.dumps(kept, default=lambda _file: None))
        prompt = self._parameters.get("prompt")
        self._prompts = [without_block(str(text)) for text in (prompt if isinstance(prompt, list) else [prompt or ""])]
        self._negative = self._parameters.get("negative_prompt") or ""

    async def _changed(self, answer: dict[str, Any]) -> dict[str, Any]:
        width, _, height = answer["size"].partition("x")
        seeds = [entry["seed"] for entry in answer["data"]]
        # Each text is drawn as often as any other.
        prompts = [self._prompts[at * len(self._prompts) // len(seeds)] for at in range(len(seeds))]
        info = {
            "prompt": prompts[0],
            "all_prompts": prompts,
            "negative_prompt": self._negative,
            "all_negative_prompts": [self._negative] * len(seeds),
            "seed": seeds[0],
            "all_seeds": seeds,
            "width": int(width),
            "height": int(height),
            # Some tools take what they write into a picture's file from here, and fail without.
            "infotexts": [
                self._infotext(prompt, seed, answer["size"]) for prompt, seed in zip(prompts, seeds, strict=True)
            ],
        }
        pictures = [entry["b64_json"] for entry in answer["data"]]
        return {"images": pictures, "parameters": self._parameters, "info": json.dumps(info)}

    def _infotext(self, prompt: str, seed: int, size: str) -> str:
        """Return what AUTOMATIC1111 writes into the file of a picture: the prompts, and settings that are known."""
        said = {label: self._parameters[key] for key, label in _LABELS.items() if given(self._parameters, key)}
        settings = ", ".join(f"{label}: {value}" for label, value in {**said, "Seed": seed, "Size": size}.items())
        negative = f"Negative prompt: {self._negative}" if self._negative else ""
        return "\n".join(line for line in (prompt, negative, settings) if line)


def check_pictures(asked: ImageRequest) -> None:
    """Raise `APIError` (400) for a request of img2img that has no picture."""
    if not (asked.images or asked.reference_images):
        raise invalid_request(
            "init_images", "is required: a list with the picture to change.", code="missing_required_parameter"
        )


def parsed(content: Mapping[str, Any]) -> ImageRequest:
    """Return the checked request; raise `APIError` (400) naming the field at fault."""
    return parse_image_request(content, path=PICTURE_PATH if given(content, "init_images") else TEXT_PATH)


def _is_inverted(body: Mapping[str, Any]) -> bool:
    """Return whether the mask says what to keep; AUTOMATIC1111 has a number for it."""
    key = "inpainting_mask_invert"
    value = body.get(key)
    return as_bool({key: bool(value) if value in (0, 1) else value}, key)


def _texts(value: Any) -> Iterator[str]:
    """Yield every text within a JSON value, however deep."""
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            # A unit of a ControlNet that is switched off does nothing in AUTOMATIC1111 either.
            left += () if "enabled" in value and value["enabled"] in _OFF else value.values()
        elif isinstance(value, list):
            left += value


def _is_picture(text: str) -> bool:
    """Return whether a text is a picture in base64, with a data URL's head or without."""
    if text[:11].lower() == "data:image/":
        return True
    try:
        return sniff_image(base64.b64decode(text[:_SNIFFED])) is not None
    except (binascii.Error, ValueError):
        return False
