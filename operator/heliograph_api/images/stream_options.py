"""Whether a request wants events, and in which of two dialects: OpenAI's, or the chunks that GPUStack documents."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from heliograph_api.errors import invalid_request
from heliograph_api.images.fields import MAX_PARTIAL_IMAGES, STREAM_OPTIONS
from heliograph_api.images.paths import GPUSTACK_PREFIX
from heliograph_api.values import as_bool, as_int, as_word, given

Dialect = Literal["openai", "image.chunk"]

_MIN_CHUNK = 1024
_MAX_CHUNK = 16 * 1024 * 1024


@dataclass(frozen=True)
class Stream:
    """What a request wants to be streamed.

    Attributes:
        dialect: Which events are sent.
        partial_images: Number of unfinished pictures of each picture.
        preview: Whether chunks carry unfinished pictures.
        include_usage: Whether the last chunk carries the usage.
        chunk_size: Most base64 characters in one chunk; None for a whole picture in one.
    """

    dialect: Dialect
    partial_images: int = 0
    preview: bool = False
    include_usage: bool = False
    chunk_size: int | None = None


def read_stream(content: Mapping[str, Any], *, path: str) -> Stream | None:
    """Return what a request wants to be streamed; None when it wants one answer.

    OpenAI's clients never send `stream_options` to the images endpoints, and every streaming example of GPUStack's
    documentation does, which is how the two are told apart where `stream_format` says nothing.

    Raises:
        APIError: 400, an option can't be used.
    """
    options = _options(content)
    partial_images = as_int(content, "partial_images", least=0, most=MAX_PARTIAL_IMAGES)
    dialect = _dialect(content, path=path, gpustack=options is not None and partial_images is None)
    if not as_bool(content, "stream"):
        return None
    options = options or {}
    chunk_size = as_int(options, "chunk_size", least=_MIN_CHUNK, most=_MAX_CHUNK) or 4096
    return Stream(
        dialect=dialect,
        partial_images=partial_images or 0,
        preview=as_bool(options, "preview") or as_bool(options, "preview_faster"),
        include_usage=as_bool(options, "include_usage"),
        chunk_size=chunk_size if as_bool(options, "chunk_result") else None,
    )


def _dialect(content: Mapping[str, Any], *, path: str, gpustack: bool) -> Dialect:
    named = as_word(content, "stream_format")
    if named == "openai":
        return "openai"
    if named == "image.chunk":
        return "image.chunk"
    if named is not None:
        raise invalid_request("stream_format", f"{named!r} is not served; send openai or image.chunk.")
    return "image.chunk" if gpustack or path.startswith(GPUSTACK_PREFIX) else "openai"


def _options(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the options, from the object or from the fields that a form has in its place."""
    options = content.get("stream_options") if given(content, "stream_options") else {}
    if not isinstance(options, Mapping):
        raise invalid_request(
            "stream_options", 'must be an object, such as {"include_usage": true}.', code="invalid_type"
        )
    flat = {
        option: content[f"stream_options_{option}"]
        for option in STREAM_OPTIONS
        if given(content, f"stream_options_{option}")
    }
    return {**flat, **options} or None
