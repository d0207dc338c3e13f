"""Spans of OpenTelemetry, and how a trace goes from one process to the next (W3C Trace Context).

Where nobody opened a span, everything here does nothing, and imports nothing of OpenTelemetry. What is sent where
is the processes' own business: here is only what they must agree on. No span holds a prompt, a key or a query.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from heliograph_api.errors import APIError

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

TRACE_HEADERS = ("traceparent", "tracestate")

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"

Attributes = Mapping[str, str | int | float | bool]


class _Active(NamedTuple):
    tracer: "Tracer"
    span: "Span"


_ACTIVE: ContextVar[_Active | None] = ContextVar("heliograph_active_span", default=None)


def collector(environ: Mapping[str, str]) -> str | None:
    """Return the collector that OpenTelemetry's environment variables name, as host and port; None for no tracing.

    Raises:
        ValueError: A variable asks for what is not there; the message names it and the remedy.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if environ.get("OTEL_TRACES_EXPORTER", "otlp").strip() not in {"", "otlp"}:
        return None
    name, endpoint = next(((name, url) for name in _ENDPOINTS if (url := environ.get(name, "").strip())), ("", ""))
    if not endpoint:
        return None
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{name}: must be an http or https URL, such as http://collector:4318")
    protocol = next((value for name in _PROTOCOLS if (value := environ.get(name, "").strip())), _PROTOCOL)
    if protocol != _PROTOCOL:
        raise ValueError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL: only {_PROTOCOL} is spoken here, on port 4318 of most collectors"
        )
    # The URL may hold a password.
    return parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"


@contextmanager
def server_span(
    tracer: "Tracer | None", name: str, *, headers: Mapping[str, str], attributes: Attributes
) -> Iterator["Span | None"]:
    """Open the span of a request that another process sent, as part of its trace, inside the `with` block.

    Args:
        tracer: What makes spans; None for none.
        name: Method and path template.
        headers: The request's headers, with names in lower case.
        attributes: What is known from the start.
    """
    if tracer is None:
        yield None
        return
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - only where there are traces
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - as above

    carrier = {name: headers[name] for name in TRACE_HEADERS if name in headers}
    parent = TraceContextTextMapPropagator().extract(carrier)
    span = tracer.start_span(name, context=parent, kind=SpanKind.SERVER, attributes=dict(attributes))
    with _opened(tracer, span):
        yield span


@contextmanager
def root_span(tracer: "Tracer | None", name: str, attributes: Attributes) -> Iterator[None]:
    """Open a span of a trace of its own inside the `with` block; nothing without a tracer."""
    if tracer is None:
        yield
        return
    from opentelemetry.context import Context  # noqa: PLC0415 - only where there are traces

    with _opened(tracer, tracer.start_span(name, context=Context(), attributes=dict(attributes))):
        yield


@contextmanager
def child_span(name: str, attributes: Attributes | None = None, *, call: bool = False) -> Iterator["Span | None"]:
    """Open a span below the one at hand inside the `with` block; nothing where there is none.

    An error that leaves the block is told by its code or its class, never by its message.

    Args:
        name: Its name.
        attributes: What is known from the start.
        call: Whether it is a request to another process.
    """
    active = _ACTIVE.get()
    if active is None:
        yield None
        return
    from opentelemetry.trace import SpanKind, set_span_in_context  # noqa: PLC0415 - only where there are traces

    span = active.tracer.start_span(
        name,
        context=set_span_in_context(active.span),
        kind=SpanKind.CLIENT if call else SpanKind.INTERNAL,
        attributes=dict(attributes or {}),
    )
    with _opened(active.tracer, span):
        yield span


def past_span(name: str, *, start: int, end: int, attributes: Attributes, error: str = "") -> None:
    """Add a span below the one at hand that is over already.

    Args:
        name: Its name.
        start: When it began, in nanoseconds since 1970.
        end: When it was over.
        attributes: What is known of it.
        error: Class of the error that it ended with, if it did.
    """
    active = _ACTIVE.get()
    if active is None:
        return
    from opentelemetry.trace import set_span_in_context  # noqa: PLC0415 - only where there are traces

    span = active.tracer.start_span(
        name, context=set_span_in_context(active.span), start_time=start, attributes=dict(attributes)
    )
    if error:
        fail_span(span, error)
    span.end(end_time=max(start, end))


def is_traced() -> bool:
    """Return whether there is a span at hand."""
    return _ACTIVE.get() is not None


def trace_headers() -> dict[str, str]:
    """Return the headers by which another process goes on with the trace at hand; none without one."""
    active = _ACTIVE.get()
    headers: dict[str, str] = {}
    if active is not None:
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415 - only where there are traces
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - as above
            TraceContextTextMapPropagator,
        )

        TraceContextTextMapPropagator().inject(headers, set_span_in_context(active.span))
    return headers


def fail_span(span: "Span", error: str) -> None:
    """Mark a span as failed."""
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - only where there are traces

    span.set_attribute("error.type", error)
    span.set_status(Status(StatusCode.ERROR))


@contextmanager
def _opened(tracer: "Tracer", span: "Span") -> Iterator[None]:
    former = _ACTIVE.get()
    _ACTIVE.set(_Active(tracer, span))
    try:
        yield
    except Exception as error:
        fail_span(span, (isinstance(error, APIError) and error.code) or type(error).__name__)
        raise
    finally:
        # A token of the variable would not do: an asynchronous generator may be closed in another context.
        _ACTIVE.set(former)
        span.end()
