"""What runtimes answer, for peers that stand in for one."""

import base64
import json
from collections.abc import Iterable
from typing import Any

import httpx

from gateway.peers import Behaviour, answer

PICTURE = b"\x89PNG\r\n\x1a\n a picture"
OTHER = b"\x89PNG\r\n\x1a\n another"
CLIP = b"\x00\x00\x00\x18ftypmp42 a clip"


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def entry(content: bytes, **more: Any) -> dict[str, Any]:
    return {"b64_json": b64(content), "seed": 7, **more}


def images(*entries: dict[str, Any], **more: Any) -> Behaviour:
    """Answer with an images response."""
    body = {"created": 1, "data": list(entries), "output_format": "png", "size": "64x48", "usage": {}}
    return answer(200, body | more)


def events(blocks: Iterable[bytes]) -> Behaviour:
    """Answer with server-sent events, and close the connection."""
    return answer(200, b"".join(blocks), content_type="text/event-stream")


def chunk(progress: float, **more: Any) -> bytes:
    """Return an event of the dialect image.chunk."""
    told = {"index": 0, "object": "image.chunk", "progress": progress, "finish_reason": None, **more}
    return b"data: " + json.dumps({"created": 1, "object": "list", "data": [told], "usage": None}).encode() + b"\n\n"


def broken_events(*blocks: bytes) -> Behaviour:
    """Begin to answer with events, and close the connection before the end."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 100000\r\n\r\n"
    return lambda connection: connection.sendall(head + b"".join(blocks))


def check_error(response: httpx.Response, status: int, code: str | None, param: str | None = None) -> str:
    """Check that an answer is this error, and return its message."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param)
    message: str = error["message"]
    return message
