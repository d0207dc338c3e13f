"""The paths of the contract; every one of them takes JSON and multipart/form-data."""

from typing import Literal

Operation = Literal["generate", "edit", "variation", "inpaint", "upscale", "video"]
"""What a path is for."""

PREFIXES = ("/v1", "/v1-openai", "")
"""OpenAI's, the one that GPUStack documents, and LocalAI's short form."""

GPUSTACK_PREFIX = "/v1-openai/"

ENDPOINTS: dict[str, Operation] = {
    "images/generations": "generate",
    "images/edits": "edit",
    "images/variations": "variation",
    "images/inpainting": "inpaint",
    "images/upscale": "upscale",
    "image/generate": "generate",
    "image/edit": "edit",
}
"""Path behind the prefix to what it is for; the singular ones are GPUStack's documentation."""

VIDEO_PATH = "/video"
"""LocalAI's: a clip as the answer to one request."""

IMAGE_PATHS: dict[str, Operation] = {
    **{f"{prefix}/{endpoint}": operation for prefix in PREFIXES for endpoint, operation in ENDPOINTS.items()},
    VIDEO_PATH: "video",
}
"""Every path that is answered with pictures or clips, by the gateway and by the runtime, to what it is for."""
