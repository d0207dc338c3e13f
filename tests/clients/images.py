"""Pictures in answers."""

import base64
import io

from PIL import Image


def opened(b64_json: str) -> Image.Image:
    """Return a picture that came as base64."""
    return Image.open(io.BytesIO(base64.b64decode(b64_json, validate=True)))
