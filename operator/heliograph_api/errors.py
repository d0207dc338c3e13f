"""Errors that cross a boundary: an invalid ImageModel, and the OpenAI error envelope."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

QUEUE_FULL = "queue_full"
"""Code of the 429 of a runtime whose queue has no room for a request; a gateway repeats what was not begun with."""

_MOST_REPEATED = 512
"""Most characters of a client's value that are sent back."""

# Python 3.13 took RFC 9110's phrases for these; a code must not depend on the interpreter.
_RENAMED = {413: "content_too_large", 414: "uri_too_long", 416: "range_not_satisfiable", 422: "unprocessable_content"}


class SpecError(ValueError):
    """An ImageModel that cannot be served as written.

    Attributes:
        path: The field, as a user writes it: `spec.parameters.model`.
        problem: What is wrong with the value and what to write instead.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


@dataclass(eq=False)
class APIError(Exception):
    """An answer other than success, in the shape that OpenAI's clients read.

    The body is `{"error": {"message", "type", "param", "code"}}` with all four keys (OpenAI's `Error` schema).

    Attributes:
        status: HTTP status code.
        message: One or two sentences: the field, the problem, the remedy.
        type: OpenAI's class of error; derived from `status` when empty.
        param: The request field at fault, if one is.
        code: A stable machine-readable reason, such as `model_not_found`.
        headers: Extra response headers, such as `Retry-After`.
    """

    status: int
    message: str
    type: str = ""
    param: str | None = None
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message

    def body(self) -> dict[str, Any]:
        """Return the JSON body of the answer."""
        kind = self.type or _type_of(self.status)
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    @classmethod
    def from_status(cls, status: int, detail: str = "", headers: Mapping[str, str] | None = None) -> "APIError":
        """Return the error for a bare HTTP status, as a web framework raises it for an unknown path or method."""
        phrase = HTTPStatus(status).phrase
        message = detail if detail and detail != phrase else f"{phrase}."
        code = _RENAMED.get(status) or re.sub(r"[^a-z]+", "_", phrase.lower())
        return cls(status, message, code=code, headers=dict(headers or {}))


def invalid_request(param: str, message: str, *, code: str = "invalid_value") -> APIError:
    """Return the 400 for a request field that cannot be used; the message starts with the field's name."""
    return APIError(400, f"{param}: {message}", param=param, code=code)


def model_not_found(model: str, available: list[str]) -> APIError:
    """Return the 404 for an unknown `model`; the message lists the models there are."""
    known = ", ".join(available) if available else "none"
    return APIError(
        404,
        f"The model '{model[:_MOST_REPEATED]}' does not exist. Available models: {known}.",
        param="model",
        code="model_not_found",
    )


def _type_of(status: int) -> str:
    types = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    if status >= 500:
        return "server_error"
    return types.get(status, "invalid_request_error")
