"""LoRA adapters that a prompt names itself, as sd-api-server documents it: `a castle <lora:style:0.8>`."""

import re

from heliograph_api.errors import invalid_request
from heliograph_api.images.loras import MAX_LORAS, MAX_NAME, MAX_WEIGHT

_TAG = re.compile(r"<lora:([^<>]*)>")
_NUMBER = re.compile(r"[+-]?(\d{1,4}(\.\d*)?|\.\d+)")


def split_lora_tags(text: str) -> tuple[str, tuple[tuple[str, float], ...]]:
    """Return a prompt without its LoRA tags, and the tags' names and weights in their order.

    A tag without a weight has the weight 1; a name may occur twice. A prompt without tags is returned as it is.

    Raises:
        APIError: 400, a tag has no name or too long a one, or something else than one number for its weight, or there
            are too many.
    """
    parts = _TAG.split(text)
    tags = tuple(_read_tag(content) for content in parts[1::2])
    if not tags:
        return text, ()
    if len(tags) > MAX_LORAS:
        raise invalid_request("prompt", f"must have at most {MAX_LORAS} LoRA tags, not {len(tags)}.")
    return " ".join(filter(None, (part.strip() for part in parts[::2]))), tags


def _read_tag(content: str) -> tuple[str, float]:
    name, separator, weight = (part.strip() for part in content.partition(":"))
    if len(name) > MAX_NAME:
        raise invalid_request("prompt", f"a LoRA tag's name must have at most {MAX_NAME} characters; shorten the tag.")
    if name and not separator:
        return name, 1.0
    if not name or not _NUMBER.fullmatch(weight) or abs(float(weight)) > MAX_WEIGHT:
        raise invalid_request(
            "prompt",
            "a LoRA tag must be a name and a weight, such as <lora:style:0.8>, with the weight from "
            f"{-MAX_WEIGHT:g} to {MAX_WEIGHT:g}; correct the tag, or remove it.",
        )
    return name, float(weight)
