"""OpenAI's error envelope for whatever goes wrong, the framework's own errors among them."""

from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from heliograph_api.errors import APIError

_LONGEST_PATH = 200
_LONGEST_METHOD = 32


def error_response(error: APIError) -> JSONResponse:
    """Return the answer for an error."""
    return JSONResponse(error.body(), status_code=error.status, headers=error.headers)


def shown_path(path: str) -> str:
    """Return a request's path as it may be shown: percent-encoded, so that it ends no line, and not too long."""
    return quote(path)[:_LONGEST_PATH]


class ExactPaths:
    """Middleware that serves no path with a line feed at its end.

    Routes would take it for the path without: their expressions end in `$`, which matches before a last line feed too.
    Whoever decides by the path who may do what would have seen another one.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http" and scope["path"].endswith("\n"):
            await error_response(_not_served(scope["path"]))(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def add_error_handlers(app: FastAPI) -> None:
    """Make an app answer every error with the envelope, save for those that no handler catches."""
    app.add_exception_handler(APIError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)


async def _api_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, APIError)  # noqa: S101 - starlette types every handler for Exception
    return error_response(error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    detail, path = error.detail, shown_path(request.scope["path"])
    if error.status_code == HTTPStatus.NOT_FOUND:
        return error_response(_not_served(request.scope["path"]))
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "another method")
        if request.method == "OPTIONS":
            # SillyTavern asks so whether a path is served, before it sends anything there.
            return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Allow": f"{allowed}, OPTIONS"})
        detail = f"{request.method[:_LONGEST_METHOD]} is not served at {path}; use {allowed}."
    return error_response(APIError.from_status(error.status_code, detail, error.headers))


def _not_served(path: str) -> APIError:
    return APIError.from_status(
        HTTPStatus.NOT_FOUND,
        f"Nothing is served at {shown_path(path)}. POST /v1/images/generations draws images, GET /v1/models lists the "
        "models.",
    )


async def _validation_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    first: dict[str, Any] = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    # Pydantic's own error holds the input, which is not sent back.
    return error_response(APIError(422, f"{field}: {first['msg']}.", param=field, code="invalid_value"))
