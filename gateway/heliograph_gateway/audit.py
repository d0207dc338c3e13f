"""The audit log: one line for each request, without prompt, key, body and query string.

Whatever stands in it is made here, comes from an ImageModel or is a key's name, but for the path of a request that no
endpoint is for, which is percent-encoded.
"""

import logging
from http import HTTPStatus
from typing import Any

from starlette.types import Scope

from heliograph_gateway.errors import shown_path
from heliograph_gateway.health import PROBE_PATHS
from heliograph_gateway.keys.caller import caller_of
from heliograph_gateway.logs import FIELDS
from heliograph_gateway.record import Record

logger = logging.getLogger("heliograph_gateway.audit")

_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})


def shown_method(method: str) -> str:
    """Return a request's method as it may be shown; a made-up one is `_OTHER`, as OpenTelemetry has it."""
    return method if method in _METHODS else "_OTHER"


def path_template(scope: Scope) -> str | None:
    """Return the path of the endpoint that a request came to, with the names of its parameters; None for none."""
    return getattr(scope.get("route"), "path", None)


def write_line(scope: Scope, record: Record, *, status: int, seconds: float) -> None:
    """Write the line of a request that is over.

    Args:
        scope: The request's.
        record: What is known of it.
        status: Status of its answer; 499 where its client left before.
        seconds: How long it took.
    """
    # The kubelet probes every few seconds: only what it is refused is news.
    level = logging.DEBUG if scope["path"] in PROBE_PATHS and status == HTTPStatus.OK else logging.INFO
    if not logger.isEnabledFor(level):
        return
    fields = _fields(scope, record, status=status, seconds=seconds)
    logger.log(
        level,
        "%(method)s %(path)s %(status)d model=%(shown_model)s key=%(shown_key)s images=%(images)d in=%(bytes_in)d "
        "out=%(bytes_out)d client=%(shown_client)s %(seconds).3fs id=%(request_id)s",
        fields
        | {
            "shown_model": fields["model"] or "-",
            "shown_key": fields["key"] or "-",
            "shown_client": fields["client"] or "-",
            "seconds": seconds,
        },
        extra={FIELDS: fields},
    )


def _fields(scope: Scope, record: Record, *, status: int, seconds: float) -> dict[str, Any]:
    client = scope.get("client")
    return {
        "request_id": record.request_id,
        "key": caller_of(scope).name,
        "method": shown_method(scope["method"]),
        "path": path_template(scope) or shown_path(scope["path"]),
        "model": record.model,
        "status": status,
        "milliseconds": round(seconds * 1000, 3),
        "held_milliseconds": round(record.held_seconds * 1000, 3),
        "images": record.usage.images if record.usage else 0,
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "client": client[0] if client else "",
    }
