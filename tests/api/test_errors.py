"""Errors that cross a boundary."""

import pytest

from heliograph_api.errors import APIError, SpecError, invalid_request, model_not_found


def test_the_envelope_is_openai_s() -> None:
    assert APIError(400, "n: must be a number.", param="n", code="invalid_type").body() == {
        "error": {
            "message": "n: must be a number.",
            "type": "invalid_request_error",
            "param": "n",
            "code": "invalid_type",
        }
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (503, "server_error"),
    ],
)
def test_the_type_follows_the_status(status: int, kind: str) -> None:
    assert APIError(status, "x").body()["error"]["type"] == kind


def test_a_type_of_its_own_wins() -> None:
    assert APIError(403, "x", type="model_disabled").body()["error"]["type"] == "model_disabled"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "not_found"),
        (405, "method_not_allowed"),
        (408, "request_timeout"),
        (413, "content_too_large"),
        (415, "unsupported_media_type"),
        (418, "i_m_a_teapot"),
        (422, "unprocessable_content"),
        (500, "internal_server_error"),
        (505, "http_version_not_supported"),
    ],
)
def test_a_bare_status_has_a_code(status: int, code: str) -> None:
    error = APIError.from_status(status)
    assert error.code == code
    assert error.message.endswith(".")


def test_a_bare_status_keeps_its_detail_and_headers() -> None:
    error = APIError.from_status(405, "GET is not served here.", {"Allow": "POST"})
    assert (error.message, error.headers) == ("GET is not served here.", {"Allow": "POST"})
    assert APIError.from_status(404, "Not Found").message == "Not Found."


def test_a_field_at_fault_is_named() -> None:
    error = invalid_request("n", "must be a number.")
    assert (error.status, error.param, error.message) == (400, "n", "n: must be a number.")


def test_a_missing_model_comes_with_those_there_are() -> None:
    error = model_not_found("dall-e-3", ["tiny", "flux.1-dev"])
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
    assert error.message == "The model 'dall-e-3' does not exist. Available models: tiny, flux.1-dev."
    assert model_not_found("tiny", []).message.endswith("Available models: none.")


def test_an_error_is_an_exception_like_others() -> None:
    """It can be kept in a set, as asyncio and exception groups do, and printed."""
    first, second = APIError(400, "x"), APIError(400, "x")
    assert len({first, second}) == 2
    assert str(first) == "x"
    assert first.headers is not second.headers


def test_a_spec_error_names_field_and_problem() -> None:
    error = SpecError("spec.step", "must be at least 0, not -5")
    assert str(error) == "spec.step: must be at least 0, not -5"
    assert (error.path, error.problem) == ("spec.step", "must be at least 0, not -5")
