"""What is in the clips of an answer."""

import base64
import io

import av
import httpx
import numpy as np
from numpy.typing import NDArray


def clips(answer: httpx.Response) -> list[tuple[int, tuple[int, int], float]]:
    """Return frames, size and rate of each clip in an answer."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["output_format"] == "mp4"
    assert {item["mime_type"] for item in body["data"]} == {"video/mp4"}
    return [probe(item["b64_json"]) for item in body["data"]]


def probe(b64_json: str) -> tuple[int, tuple[int, int], float]:
    """Return frames, size and rate of a clip, which plays while it loads."""
    file = base64.b64decode(b64_json)
    assert file.index(b"moov") < file.index(b"mdat")
    with av.open(io.BytesIO(file), "r") as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        count = len(list(container.decode(stream)))
        return count, (stream.width, stream.height), float(stream.average_rate or 0)


def frames(b64_json: str) -> NDArray[np.int64]:
    """Return the frames of a clip, shape (frames, height, width, 3)."""
    with av.open(io.BytesIO(base64.b64decode(b64_json)), "r") as container:
        (stream,) = container.streams.video
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]).astype(int)
