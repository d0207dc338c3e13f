"""Pictures as files and as the JSON answer; slow enough that it belongs off the event loop."""

import base64
import io
import json
from collections.abc import Sequence

from PIL import Image

from heliograph_api.images import OutputFormat
from heliograph_runtime.engines.protocol import Picture

_QUALITY = 95
"""Of JPEG and WebP, from 0 to 100; PNG loses nothing."""


def encode_picture(picture: Picture, output_format: OutputFormat) -> bytes:
    """Return a picture as a file."""
    image = Image.frombytes("RGB", (picture.width, picture.height), picture.pixels)
    file = io.BytesIO()
    quality = {} if output_format == "png" else {"quality": _QUALITY}
    image.save(file, format=output_format, **quality)
    return file.getvalue()


def images_response(
    pictures: Sequence[Picture], *, seeds: Sequence[int], output_format: OutputFormat, created: int
) -> bytes:
    """Return OpenAI's images response as JSON, with the seed of each image added.

    Keys that have no meaning here are left out rather than null, as OpenAI's schema has it. There are no tokens to
    count, and clients read the counts, so they are 0.

    Args:
        pictures: The pictures, all of one size; at least one.
        seeds: Seed of each.
        output_format: File format of the images.
        created: Time of the answer in seconds since 1970.
    """
    data = [
        {"b64_json": base64.b64encode(encode_picture(picture, output_format)).decode("ascii"), "seed": seed}
        for picture, seed in zip(pictures, seeds, strict=True)
    ]
    body = {
        "created": created,
        "data": data,
        "output_format": output_format,
        "size": f"{pictures[0].width}x{pictures[0].height}",
        "background": "opaque",
        "usage": {
            "input_tokens": 0,
            "output_tokens": 0,
            "total_tokens": 0,
            "input_tokens_details": {"text_tokens": 0, "image_tokens": 0},
        },
    }
    return json.dumps(body).encode()
