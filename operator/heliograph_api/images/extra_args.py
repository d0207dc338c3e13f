"""Settings as JSON in a prompt, `a castle <sd_cpp_extra_args>{"seed": 7}</sd_cpp_extra_args>`.

The server of stable-diffusion.cpp documents it (`examples/server/api.md`) for the settings of its own API that OpenAI's
and AUTOMATIC1111's lack. What its code takes from the block wins over the rest of the request, save what
AUTOMATIC1111's tools always send; that holds here too (`YIELDING`).
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from heliograph_api.errors import APIError, invalid_request
from heliograph_api.images.fields import FIELDS, MAX_SIDE, MIN_SIDE
from heliograph_api.images.inputs import PICTURE_FIELDS
from heliograph_api.values import as_int, as_size, given

MAX_LAYER = 25
"""Most CLIP layers to stop at, counted from the end."""

_NAME = "sd_cpp_extra_args"
_OPEN, _CLOSE = f"<{_NAME}>", f"</{_NAME}>"
_OBJECTS = frozenset({"hires", "sample_params", "sample_params.guidance", "sample_params.guidance.slg"})
BLOCK_FIELDS = {
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "seed": "seed",
    "width": "width",
    "height": "height",
    "batch_count": "n",
    "strength": "strength",
    "clip_skip": "clip_skip",
    "control_strength": "control_strength",
    "lora": "loras",
    "sample_params.sample_steps": "steps",
    "sample_params.sample_method": "sampler",
    "sample_params.scheduler": "schedule",
    "sample_params.guidance.txt_cfg": "guidance_scale",
    "sample_params.guidance.distilled_guidance": "guidance",
    "init_image": "image",
    "ref_images": "ref_images",
    "mask_image": "mask",
    "control_image": "control_image",
    "end_image": "end_image",
    "video_frames": "num_frames",
    "fps": "fps",
    "output_format": "output_format",
    "output_compression": "output_compression",
}
"""Setting of the block to the field of the contract that it stands for."""
YIELDING = frozenset({"clip_skip", "sampler", "schedule", "loras", "strength", "image", "mask"})
"""Fields for which the request's own value wins."""
_LEFT_OPEN = frozenset({"automatic", "default"})
"""How tools of AUTOMATIC1111's write a sampler or schedule that they do not choose."""
_UNSET_BELOW_ONE = frozenset({"width", "height", "clip_skip"})
BLOCK_REFUSED = {
    "hires.enabled": "no second pass is drawn; draw a larger size, or enlarge the picture with images/upscale",
    "sample_params.custom_sigmas": "noise levels are not taken one by one; name a scheduler",
    "sample_params.guidance.slg.scale": "no layers are skipped in guidance; leave it out, or send 0",
    "ip_adapter_image": "there are no IP-Adapters here; send the picture as ref_images",
    "control_frames": "clips follow no control frames; leave them out",
}
"""Settings that would change the picture and can't be served, with the remedy; false, 0 and nothing are let pass."""

_NAMES = {field.name: field.names for field in FIELDS}
_URL = re.compile(r"\s*https?://", re.IGNORECASE)


def expanded(content: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Return a request with the block's settings as fields of its own, and the settings that have no meaning here.

    A request without a block is returned as it is. Several prompts may have the same block each.

    Raises:
        APIError: 400, the block is no JSON object, is not closed, differs from another one, or asks for what is not
            there. What its settings say is left to whoever reads the fields.
    """
    found = _blocks(content)
    if found is None:
        return content, ()
    prompt, settings = found
    merged: dict[str, Any] = {**content, "prompt": prompt}
    if given(content, "size") and (given(settings, "width") or given(settings, "height")):
        # One of the two leaves the other as it is.
        size = as_size(content, "size", least=MIN_SIDE, most=MAX_SIDE)
        merged |= {"size": None} | (dict(zip(("width", "height"), size, strict=True)) if size else {})
    for setting, value in settings.items():
        name = BLOCK_FIELDS.get(setting)
        if name and not (name in YIELDING and any(_is_said(content, other) for other in _NAMES[name])):
            merged |= dict.fromkeys(_NAMES[name]) | {name: value}
    return merged, tuple(f"{_NAME}.{setting}" for setting in settings if setting not in BLOCK_FIELDS)


def _is_said(content: Mapping[str, Any], name: str) -> bool:
    """Return whether a request has a value of its own for a field, and leaves it to nobody else."""
    value = content.get(name)
    return given(content, name) and not (isinstance(value, str) and value.strip().lower() in _LEFT_OPEN)


def without_block(prompt: str) -> str:
    """Return a prompt without its block; raise `APIError` (400) if that is not closed."""
    return _cut(prompt)[0]


def skipped_layers(settings: Mapping[str, Any], key: str) -> int | None:
    """Return the CLIP layers to skip where a setting counts the layer to stop at; 0, -1 and nothing mean nothing."""
    layer = as_int(settings, key, least=-1, most=MAX_LAYER)
    return layer - 1 if layer and layer > 0 else None


def _blocks(content: Mapping[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    """Return the prompt or prompts without blocks, and the settings; None when there is no block."""
    prompt = content.get("prompt")
    prompts = prompt if isinstance(prompt, list) else [prompt]
    if not any(isinstance(text, str) and _OPEN in text for text in prompts):
        return None
    cut = [_cut(text) if isinstance(text, str) else (text, []) for text in prompts]
    written = {block for _, blocks in cut for block in blocks}
    if len(written) > 1:
        raise _refusal("the blocks differ; send one, or the same in each prompt", code="conflicting_fields")
    plain = [text for text, _ in cut]
    return plain if isinstance(prompt, list) else plain[0], _settings(written.pop())


def _cut(text: str) -> tuple[str, list[str]]:
    """Return a prompt without its blocks, and what they hold."""
    first, *others = text.split(_OPEN)
    if not others:
        return text, []
    parts = [other.partition(_CLOSE) for other in others]
    if not all(closed for _, closed, _ in parts):
        raise _refusal(f"the block is not closed; end it with {_CLOSE}")
    return (first + "".join(rest for _, _, rest in parts)).strip(), [block for block, _, _ in parts]


def _settings(block: str) -> dict[str, Any]:
    """Return the settings of a block by their dotted names, as the contract writes their values; unset ones left out.

    Raises:
        APIError: 400, it is no JSON object, or asks for what is not there.
    """
    try:
        written = json.loads(block) if block.strip() else {}
    except (ValueError, RecursionError):
        written = None
    if not isinstance(written, dict):
        raise _refusal('the block must be a JSON object, such as {"sample_params": {"sample_steps": 20}}')
    settings = {name: value for name, value in _flat(written) if given({name: value}, name)}
    for name, remedy in BLOCK_REFUSED.items():
        if settings.get(name):
            raise _refusal(f"{name}: {remedy}", code="unsupported")
    for name, field in BLOCK_FIELDS.items():
        if field in PICTURE_FIELDS and name in settings:
            _check_inline(name, settings[name])
    for name in _UNSET_BELOW_ONE & settings.keys():
        if (as_int(settings, name, least=-1, most=MAX_SIDE) or 0) < 1:
            del settings[name]
    if "clip_skip" in settings:
        settings["clip_skip"] = skipped_layers(settings, "clip_skip")
    return settings


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if name in _OBJECTS and isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        else:
            yield name, value


def _check_inline(name: str, value: Any) -> None:
    """Check that pictures are text in base64: one behind a URL is fetched for the request's own fields alone."""
    for picture in value if isinstance(value, list) else [value]:
        if not isinstance(picture, str) or _URL.match(picture):
            raise _refusal(f"{name}: send base64 or a data URL, or the picture as {BLOCK_FIELDS[name]} of the request")


def _refusal(problem: str, *, code: str = "invalid_value") -> APIError:
    return invalid_request("prompt", f"{_NAME}: {problem}.", code=code)
