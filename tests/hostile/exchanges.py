"""Hostile requests, and what no answer to one may be or tell."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

import httpx

from heliograph_api.images.paths import IMAGE_PATHS

GENERATIONS = "/v1/images/generations"
EDITS = "/v1/images/edits"
KEY = "a-key-of-the-tests"

_BASE64 = re.compile(r"[A-Za-z0-9+/=]{200,}")
_LEAKS = {
    "an object's address": re.compile(r"0x[0-9a-f]{6,}|<[\w.]+ object"),
    "a traceback": re.compile(r'Traceback|File \\?"|line \d+, in '),
    "a path of the file system": re.compile(
        r"(?<![\w/])/(?:work|home|root|tmp|usr|etc|var|opt|proc|models)/|site-packages"
    ),
    "a module": re.compile(r"\b\w+\.py\b|\b(?:PIL|BytesIO|multipart\.|pydantic|sqlalchemy|sqlite|starlette)\b"),
    "an exception": re.compile(r"\b(?:[A-Z][a-z]+){1,4}(?:Error|Exception|Warning|Interrupt|Iteration)\b"),
}


@dataclass(frozen=True)
class Case:
    """A request that is refused, unless `statuses` says otherwise.

    Attributes:
        name: What is hostile about it.
        content: Its body.
        headers: Its headers, those that every request has aside.
        method: Its method.
        target: Path and query, sent byte for byte.
        statuses: What it may be answered with.
        param: Field that the error names; None for none, `...` where a case has no view.
    """

    name: str
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"
    target: str = GENERATIONS
    statuses: tuple[int, ...] = (400,)
    param: Any = ...


def json_case(name: str, body: Any, *, target: str = GENERATIONS, **expected: Any) -> Case:
    """Return a case with a body of JSON; text and bytes are sent as they are."""
    content = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return Case(name, content, {"content-type": "application/json"}, target=target, **expected)


def send(client: httpx.Client, case: Case) -> httpx.Response:
    """Return the answer to a case."""
    headers = {"content-type": "application/json"} | case.headers
    return client.request(
        case.method,
        "/",
        content=case.content,
        headers=[(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
        extensions={"target": case.target.encode("latin-1")},
    )


def check(answer: httpx.Response, case: Case) -> None:
    """Hold an answer to what its case expects, and to what holds for every answer."""
    assert answer.status_code in case.statuses, f"{case.name}: {answer.status_code} {answer.text[:2000]}"
    check_answer(answer, sent=(case.content, case.method.encode(), unquote_to_bytes(case.target)))
    if case.param is not ... and answer.status_code >= 400:
        assert answer.json()["error"]["param"] == case.param, f"{case.name}: {answer.text[:2000]}"


def check_answer(answer: httpx.Response, *, sent: Iterable[bytes] = ()) -> None:
    """Hold an answer to what holds for every one.

    Args:
        answer: The answer.
        sent: Parts of the request; an answer may repeat a part of one.
    """
    # Of the server errors that the contract documents (502, 503, 504, 507) no request can be the reason here.
    assert answer.status_code < 500, answer.text[:2000]
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        check_envelope(answer)
    check_text(answer.text, sent=sent)


def check_envelope(answer: httpx.Response) -> None:
    """Hold an error to OpenAI's envelope."""
    assert answer.headers["content-type"] == "application/json", answer.text[:2000]
    body = answer.json()
    assert set(body) == {"error"}
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert all(isinstance(error[key], str) for key in ("message", "type", "code")), error
    assert error["param"] is None or (isinstance(error["param"], str) and error["param"])
    assert len(answer.content) < 8192, f"an error of {len(answer.content)} bytes"


def check_text(text: str, *, sent: Iterable[bytes] = ()) -> None:
    """Raise `AssertionError` if a text tells what nobody outside should know, pictures aside."""
    plain = _BASE64.sub("", text)
    known = [part.decode(errors="replace") for part in sent]
    for what, pattern in _LEAKS.items():
        for match in pattern.finditer(plain):
            assert any(match[0] in part for part in known), f"{what}: {match[0]} in {plain[:2000]}"


def every_path() -> list[str]:
    """Return every path that takes a request for pictures or clips."""
    return [*IMAGE_PATHS, "/v1/videos", "/videos", "/sdapi/v1/txt2img", "/sdapi/v1/img2img"]
