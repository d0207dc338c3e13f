"""The endpoints: every path of the contract, answered by one application."""

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from heliograph_api.errors import APIError
from heliograph_api.images.paths import IMAGE_PATHS
from heliograph_api.targets import MISDIRECTED, TARGET_HEADER, is_target
from heliograph_api.tracing import child_span, server_span
from heliograph_api.usage import USAGE_HEADER
from heliograph_runtime.images.answering import images_answer
from heliograph_runtime.images.body import read_body
from heliograph_runtime.images.preparation import Preparation
from heliograph_runtime.images.streaming import event_chunks, send_events
from heliograph_runtime.images.timing import Stopwatch
from heliograph_runtime.metrics import CLIENT_CLOSED_REQUEST
from heliograph_runtime.service import Service


def images_router(service: Service) -> APIRouter:
    """Return the router of all paths that are answered with pictures or clips."""
    router = APIRouter()
    endpoint: Any = _ImagesEndpoint(service)  # the annotation there knows functions alone
    for path in IMAGE_PATHS:
        router.add_route(path, endpoint, methods=["POST"])
    return router


class _ImagesEndpoint:
    """Answers requests; an ASGI application, so that one coroutine holds a request from its first byte to its last."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._preparation = Preparation(service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, path = Request(scope, receive), scope["path"]
        with server_span(
            self._service.tracer,
            f"POST {path}",
            headers=request.headers,
            attributes={"http.request.method": "POST", "http.route": path, "url.path": path, "url.scheme": "http"},
        ) as span:
            status = 500
            try:
                status = await self._serve(request, send)
            except APIError as error:
                status = error.status
                raise
            except ClientDisconnect:
                status = CLIENT_CLOSED_REQUEST
            finally:
                self._service.metrics.count_request(status)
                if span:
                    span.set_attribute("http.response.status_code", status)

    async def _serve(self, request: Request, send: Send) -> int:
        """Answer a request and return the status; its work is cancelled when the client leaves."""
        stopwatch = Stopwatch()
        body = await read_body(request, max_bytes=self._service.settings.max_body_bytes)
        self._check_target(request)
        return await _unless_left(request, self._answer(request, body, stopwatch, send))

    def _check_target(self, request: Request) -> None:
        """Refuse what was sent to whichever pod had this address before."""
        model, told = self._service.model, request.headers.get(TARGET_HEADER)
        if told is not None and not is_target(told, namespace=model.namespace, name=model.name):
            raise APIError(
                MISDIRECTED,
                "This runtime serves another model than the one that the request is for; ask the gateway again.",
                code="misdirected_request",
            )

    async def _answer(self, request: Request, body: bytes, stopwatch: Stopwatch, send: Send) -> int:
        with child_span("load inputs", {"heliograph.body_bytes": len(body)}):
            prepared = await self._preparation.prepare(
                body, content_type=request.headers.get("content-type", ""), path=request.scope["path"]
            )
        with prepared.events(self._service) as events:
            if stream := prepared.request.stream:
                model = self._service.model.model_id
                async with aclosing(event_chunks(prepared, events, stopwatch, model=model)) as chunks:
                    return await send_events(chunks, stopwatch, dialect=stream.dialect, send=send)
            answer, used = await images_answer(prepared, events, stopwatch)
        response = Response(answer, media_type="application/json", headers={USAGE_HEADER: used.text()})
        await response(request.scope, request.receive, send)
        return response.status_code


async def _unless_left(request: Request, work: Coroutine[Any, Any, int]) -> int:
    """Return what work returns; cancel it when the client closes the connection. The body must have been read.

    Raises:
        ClientDisconnect: The client left first.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        leaving.cancel()
        working.cancel()
        await asyncio.wait({working})


async def _left(request: Request) -> None:
    """Return when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
