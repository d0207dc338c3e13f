"""The outermost layer of the app: request ids, spans, the audit log, counts, and what an unforeseen error becomes."""

import logging
import re
import time
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from heliograph_api.errors import APIError
from heliograph_gateway import audit
from heliograph_gateway.errors import error_response
from heliograph_gateway.health import PROBE_PATHS
from heliograph_gateway.keys.caller import caller_of
from heliograph_gateway.metrics import Metrics
from heliograph_gateway.record import REQUEST_ID_HEADER, Record
from heliograph_gateway.tracing import finish_span, request_span
from heliograph_gateway.usage.meter import Meter

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

logger = logging.getLogger(__name__)

MODEL_HEADER = "x-heliograph-model"
CLIENT_CLOSED_REQUEST = 499
"""Status in log and metrics of a request whose client left before the answer, as nginx counts it."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Boundary:
    """Middleware that gives each request a `Record`, and counts and logs the request once it is over."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, meter: Meter, tracer: "Tracer | None" = None) -> None:
        """Wrap `app`.

        Args:
            app: What answers.
            metrics: Where requests are counted.
            meter: Where what they used is.
            tracer: What makes spans; None for none.
        """
        self._app = app
        self._metrics = metrics
        self._meter = meter
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = Headers(scope=scope)
        asked = headers.get(REQUEST_ID_HEADER, "")
        record = Record(asked if _REQUEST_ID.fullmatch(asked) else uuid.uuid4().hex)
        scope.setdefault("state", {})["record"] = record
        with request_span(self._tracer, scope, headers, request_id=record.request_id) as span:
            try:
                await self._serve(scope, receive, send, record)
            finally:
                seconds = time.perf_counter() - started
                status = record.failure or record.status or CLIENT_CLOSED_REQUEST
                self._count(scope, record, status=status, seconds=seconds)
                if span:
                    finish_span(span, scope, record, status=status)
                audit.write_line(scope, record, status=status, seconds=seconds)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, record: Record) -> None:
        async def counted_receive() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                record.bytes_in += len(message.get("body", b""))
            return message

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                _add_headers(message, record)
            elif message["type"] == "http.response.body":
                record.bytes_out += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, counted_receive, send_with_headers)
        except ClientDisconnect:
            logger.debug("id=%s left while its body was read", record.request_id)
        except Exception:
            logger.exception("id=%s failed", record.request_id)
            record.failure = HTTPStatus.INTERNAL_SERVER_ERROR
            if record.status is None:
                error = APIError(500, "Something went wrong inside the gateway; its log has the details.")
                await error_response(error)(scope, receive, send_with_headers)
        finally:
            record.cleanup.close()

    def _count(self, scope: Scope, record: Record, *, status: int, seconds: float) -> None:
        if scope["path"] in PROBE_PATHS:
            return  # the kubelet's are so many that a share of errors among all answers would tell nothing
        self._metrics.count_request(record.route, status)
        if record.route is None:
            return
        self._metrics.observe_request(record.route, status, seconds=seconds, held=record.held_seconds)
        # A client pays for what it got, not for work that came to nothing.
        if record.usage is not None and record.usage.images and record.status and record.status < 400:
            self._meter.count(caller_of(scope).name, record.route, record.usage)


def _add_headers(message: Message, record: Record) -> None:
    headers = MutableHeaders(raw=message["headers"])
    headers[REQUEST_ID_HEADER] = record.request_id
    if record.route:
        # A public id may be spelled in any script, a header may not.
        headers[MODEL_HEADER] = quote(record.route.model.model_id, safe="/:@")
