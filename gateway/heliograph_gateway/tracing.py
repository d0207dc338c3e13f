"""The gateway's part of a trace: where its spans go, and the span of a request."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING

from starlette.types import Scope

from heliograph_api.tracing import collector, fail_span, server_span
from heliograph_gateway.audit import path_template, shown_method
from heliograph_gateway.health import PROBE_PATHS
from heliograph_gateway.record import Record

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.trace import Span, Tracer

_SERVICE = "heliograph-gateway"
_LAST_EXPORT_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Tracing:
    """Sends the spans of this process to a collector, from a thread of its own; what it can't take in time is dropped.

    Attributes:
        tracer: What makes spans.
    """

    def __init__(self, provider: "TracerProvider") -> None:
        self.tracer: Tracer = provider.get_tracer("heliograph")
        self._provider = provider

    def close(self) -> None:
        """Send what is left, within a few seconds."""
        closing = Thread(target=self._provider.shutdown, name="tracing", daemon=True)
        closing.start()
        closing.join(_LAST_EXPORT_SECONDS)


def start_tracing(environ: Mapping[str, str]) -> Tracing | None:
    """Return what sends spans as OpenTelemetry's environment variables say; None where they name no collector.

    Args:
        environ: The process's environment; OpenTelemetry reads the rest of its variables there by itself.
    """
    try:
        address = collector(environ)
    except ValueError as error:
        logger.warning("no traces: %s", error)
        return None
    if address is None:
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - if wanted
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415 - as above
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - as above
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - as above

    # Its lines for each attempt would fill the log while the collector is away.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
    about = Resource({"service.name": _SERVICE}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=about, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_told_once(OTLPSpanExporter(), address)))
    return Tracing(provider)


@contextmanager
def request_span(
    tracer: "Tracer | None", scope: Scope, headers: Mapping[str, str], *, request_id: str
) -> Iterator["Span | None"]:
    """Open the span of a client's request inside the `with` block; none for the kubelet's probes.

    Args:
        tracer: What makes spans; None for none.
        scope: The request's.
        headers: Its headers.
        request_id: What it is called in logs.
    """
    if tracer is None or scope["path"] in PROBE_PATHS:
        yield None
        return
    method = shown_method(scope["method"])
    attributes = {
        "http.request.method": method,
        "url.scheme": scope.get("scheme", "http"),
        "network.protocol.version": scope.get("http_version", "1.1"),
        "heliograph.request_id": request_id,
    }
    if client := scope.get("client"):
        attributes["client.address"] = client[0]
    with server_span(tracer, method, headers=headers, attributes=attributes) as span:
        yield span


def finish_span(span: "Span", scope: Scope, record: Record, *, status: int) -> None:
    """Add to the span of a request what is known at its end.

    The path is only told as its template: a link to a file has its signature there.
    """
    span.set_attribute("http.response.status_code", status)
    if template := path_template(scope):
        span.update_name(f"{shown_method(scope['method'])} {template}")
        span.set_attribute("http.route", template)
        span.set_attribute("url.path", template)
    if record.model:
        span.set_attribute("heliograph.model", record.model)
    if record.usage:
        span.set_attribute("heliograph.images", record.usage.images)
    if status >= 500:
        fail_span(span, str(status))


def _told_once(exporter: "SpanExporter", address: str) -> "SpanExporter":
    """Return an exporter that logs once when the collector goes away, and once when it is back."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult  # noqa: PLC0415 - only if wanted

    class ToldOnce(SpanExporter):
        _away = False

        def export(self, spans: "Sequence[ReadableSpan]") -> "SpanExportResult":
            result = exporter.export(spans)
            away = result is not SpanExportResult.SUCCESS
            if away and not self._away:
                logger.warning("traces: the collector at %s takes no spans; they are dropped meanwhile", address)
            elif self._away and not away:
                logger.info("traces: the collector at %s takes spans again", address)
            self._away = away
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

    return ToldOnce()
