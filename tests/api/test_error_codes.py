"""Every code that some part of the project answers with is documented, with its status."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

from heliograph_api.error_codes import CODES
from heliograph_api.errors import QUEUE_FULL, APIError

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("operator/heliograph_api", "gateway/heliograph_gateway", "runtime/heliograph_runtime")
BY_STATUS = {404: "not_found", 405: "method_not_allowed"}
"""Codes that are made of a bare status."""


def calls() -> Iterator[ast.Call]:
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*.py"):
            yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))


def code_of(call: ast.Call) -> str | None:
    value = next((keyword.value for keyword in call.keywords if keyword.arg == "code"), None)
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value
    return QUEUE_FULL if isinstance(value, ast.Name) and value.id == "QUEUE_FULL" else None


def status_of(call: ast.Call) -> int | None:
    """Return the status that a call names first; `invalid_request` is that of a 400."""
    first = call.args[0] if call.args else None
    if isinstance(first, ast.Attribute) and isinstance(first.value, ast.Name) and first.value.id == "HTTPStatus":
        return HTTPStatus[first.attr]
    if isinstance(first, ast.Constant) and isinstance(first.value, int):
        return first.value
    return 400 if isinstance(call.func, ast.Name) and call.func.id == "invalid_request" else None


def test_every_code_is_documented_with_its_status() -> None:
    found: dict[str, set[int]] = defaultdict(set, {code: {status} for status, code in BY_STATUS.items()})
    found["invalid_value"].add(400)
    for call in calls():
        if code := code_of(call):
            status = status_of(call)
            found[code] |= set() if status is None else {status}
        if isinstance(call.func, ast.Name) and call.func.id == "RefusedError":
            (reason, *_) = call.args
            if isinstance(reason, ast.Constant) and isinstance(reason.value, str):
                found[f"image_url_{reason.value}"].add(400)
    documented = {row.code: set(row.statuses) for row in CODES}
    assert len(documented) == len(CODES)
    assert found.keys() == documented.keys()
    assert {code: statuses - documented[code] for code, statuses in found.items() if statuses - documented[code]} == {}


def test_codes_of_a_bare_status() -> None:
    assert {status: APIError.from_status(status).code for status in BY_STATUS} == BY_STATUS


def test_what_is_no_use_to_repeat_is_not_told_to_be() -> None:
    again = {row.code: row.again for row in CODES}
    for call in calls():
        if (code := code_of(call)) and isinstance(call.func, ast.Name) and call.func.id == "APIError":
            headers = next((ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg == "headers"), "")
            if "Retry-After" in headers or "retry_after" in headers:
                assert again[code] == "yes", code
