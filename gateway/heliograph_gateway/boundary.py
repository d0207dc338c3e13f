"""The outermost layer of the app: request ids, the access log, counts, and what happens to an unforeseen error."""

import logging
import re
import time
import uuid
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from heliograph_api.errors import APIError
from heliograph_gateway.errors import error_response, shown_path
from heliograph_gateway.health import PROBE_PATHS
from heliograph_gateway.metrics import Metrics
from heliograph_gateway.names import Route

logger = logging.getLogger("heliograph_gateway.access")

MODEL_HEADER = "x-heliograph-model"
REQUEST_ID_HEADER = "x-request-id"
CLIENT_CLOSED_REQUEST = 499
"""Status in log and metrics of a request whose client left before the answer, as nginx counts it."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass
class Record:
    """What is known of a request while it is served.

    Attributes:
        request_id: The client's x-request-id if it is a plain word, else a new one.
        route: The model, once it is resolved.
        status: Status of the answer, once there is one.
    """

    request_id: str
    route: Route | None = None
    status: int | None = None


def record_of(scope: Scope) -> Record:
    """Return the record of the request that a scope belongs to."""
    record: Record = scope["state"]["record"]
    return record


class Boundary:
    """Middleware that gives each request a `Record`, and one line in the log, without prompts, keys or bodies."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        """Wrap `app`."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        asked = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        record = Record(asked if _REQUEST_ID.fullmatch(asked) else uuid.uuid4().hex)
        scope.setdefault("state", {})["record"] = record

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                _add_headers(message, record)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            logger.debug("id=%s left while its body was read", record.request_id)
        except Exception:
            logger.exception("id=%s failed", record.request_id)
            if record.status is None:
                error = APIError(500, "Something went wrong inside the gateway; its log has the details.")
                await error_response(error)(scope, receive, send_with_headers)
        finally:
            status = CLIENT_CLOSED_REQUEST if record.status is None else record.status
            self._metrics.count_request(record.route, status)
            # The kubelet probes every few seconds: only what it is refused is news.
            routine = scope["path"] in PROBE_PATHS and status == HTTPStatus.OK
            logger.log(
                logging.DEBUG if routine else logging.INFO,
                "%s %s %d model=%s %.3fs id=%s",
                scope["method"],
                shown_path(scope["path"]),
                status,
                record.route.qualified_name if record.route else "-",
                time.perf_counter() - started,
                record.request_id,
            )


def _add_headers(message: Message, record: Record) -> None:
    headers = MutableHeaders(raw=message["headers"])
    headers[REQUEST_ID_HEADER] = record.request_id
    if record.route:
        # A public id may be spelled in any script, a header may not.
        headers[MODEL_HEADER] = quote(record.route.model.model_id, safe="/:@")
