"""Every answer other than success is OpenAI's error envelope, whoever raised it."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from heliograph_api.errors import APIError

log = logging.getLogger(__name__)


def add_error_handlers(app: FastAPI) -> None:
    """Make an application answer errors of its own and of its framework in the envelope."""

    @app.exception_handler(APIError)
    async def api_error(_request: Request, error: APIError) -> JSONResponse:
        return _answer(error)

    @app.exception_handler(HTTPException)
    async def http_exception(_request: Request, error: HTTPException) -> JSONResponse:
        return _answer(APIError.from_status(error.status_code, error.detail, error.headers))

    @app.exception_handler(RequestValidationError)
    async def invalid_request(_request: Request, error: RequestValidationError) -> JSONResponse:
        """Name the first field at fault; its value is not repeated."""
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:])
        return _answer(APIError(422, f"{field}: {first['msg']}.", param=field, code="invalid_value"))

    @app.exception_handler(Exception)
    async def unexpected(_request: Request, _error: Exception) -> JSONResponse:
        return _answer(unexpected_error())


def unexpected_error() -> APIError:
    """Return what a client is told of a bug."""
    return APIError(
        500,
        "The runtime failed to answer; its log says why.",
        code="internal_error",
        headers={"x-should-retry": "false"},
    )


def _answer(error: APIError) -> JSONResponse:
    return JSONResponse(error.body(), status_code=error.status, headers=error.headers)
