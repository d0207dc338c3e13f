"""How pictures come back: the response format, the usage, and the JSON answer."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from heliograph_api.images.request import ImageRequest, ResponseFormat
from heliograph_api.spec import ImageModelSpec

MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "mp4": "video/mp4"}
"""File format to its media type."""

_COMPAT: dict[str, ResponseFormat] = {"localai": "url", "sd-api-server": "url", "gpustack": "b64_json"}
# OpenAI's own rule for these names, which clients that hard-code one of them count on.
_ALWAYS_INLINE = re.compile(r"(gpt-image|chatgpt-image)", re.IGNORECASE)
_ALWAYS_LINKED = re.compile(r"dall-e", re.IGNORECASE)


def response_format(
    request: ImageRequest, spec: ImageModelSpec, *, setting: ResponseFormat | None = None
) -> ResponseFormat:
    """Return how the pictures of a request come back.

    What the request says; else OpenAI's rule for the name that it asks for; else what the model's spec says, then what
    its `serving.compat` stands for, then the gateway's setting; else both, the only answer that clients of all sources
    can read.

    Args:
        request: The request.
        spec: Spec of its model.
        setting: The gateway's setting.
    """
    if request.response_format:
        return request.response_format
    if request.stream:
        return "b64_json"
    if _ALWAYS_INLINE.match(request.model or ""):
        return "b64_json"
    if _ALWAYS_LINKED.match(request.model or ""):
        return "url"
    return spec.serving.response_format or _COMPAT.get(spec.serving.compat or "") or setting or "both"


def usage(*, images: int, steps: int, to_process: float, per_generation: float) -> dict[str, Any]:
    """Return the usage in both shapes: OpenAI's token counts, which are 0, and the timings of GPUStack's servers.

    Strict clients fail on timings alone, on counts that are missing and on details that are null.

    Args:
        images: Pictures drawn.
        steps: Steps of each.
        to_process: Seconds from the request to the first step.
        per_generation: Seconds for each step.
    """
    return {
        "input_tokens": 0,
        "output_tokens": 0,
        "total_tokens": 0,
        "input_tokens_details": {"text_tokens": 0, "image_tokens": 0},
        "output_tokens_details": {"text_tokens": 0, "image_tokens": 0},
        "images": images,
        "steps": steps,
        "time_to_process_ms": round(to_process * 1000, 3),
        "time_per_generation_ms": round(per_generation * 1000, 3),
        "generation_per_second": round(1 / per_generation, 3) if per_generation > 0 else 0.0,
    }


def images_body(
    data: Sequence[Mapping[str, Any]],
    *,
    created: int,
    request: ImageRequest,
    file_format: str,
    size: str,
    usage: Mapping[str, Any],
) -> dict[str, Any]:
    """Return OpenAI's images response.

    Keys that have no meaning are left out rather than null, as OpenAI's schema has it.

    Args:
        data: One entry for each picture or clip: `b64_json`, and `seed`, beside what else there is to say.
        created: Time of the answer in seconds since 1970.
        request: The request.
        file_format: Format of the files, one of `MEDIA_TYPES`.
        size: Size of the pictures, WIDTHxHEIGHT.
        usage: What `usage` returns.
    """
    body: dict[str, Any] = {
        "created": created,
        "data": [dict(entry) for entry in data],
        "background": "opaque",
        "output_format": file_format,
        "size": size,
        "usage": dict(usage),
    }
    if request.operation == "video":
        # LocalAI's, which calls nothing by it either.
        body["id"] = str(uuid4())
    if request.quality:
        body["quality"] = request.quality
    return body
