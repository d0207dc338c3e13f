"""The runtime's part of a trace: where its spans go, and those of its drawings."""

import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING

from heliograph_api.errors import APIError
from heliograph_api.tracing import collector, is_traced, past_span
from heliograph_runtime.drawings import Drawing

if TYPE_CHECKING:
    from asyncio import Future

    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.trace import Tracer

    from heliograph_runtime.engines.protocol import Picture

_SERVICE = "heliograph-runtime"
_LAST_EXPORT_SECONDS = 5.0

log = logging.getLogger(__name__)


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


def start_tracing(environ: Mapping[str, str], *, model: str) -> Tracing | None:
    """Return what sends spans as OpenTelemetry's environment variables say; None where they name no collector.

    Args:
        environ: The process's environment; OpenTelemetry reads the rest of its variables there by itself.
        model: Id of the model.
    """
    try:
        address = collector(environ)
    except ValueError as error:
        log.warning("no traces: %s", error)
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
    about = Resource({"service.name": _SERVICE, "heliograph.model": model})
    provider = TracerProvider(resource=about.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_told_once(OTLPSpanExporter(), address)))
    return Tracing(provider)


def trace_drawings(drawings: Sequence[Drawing]) -> None:
    """Have the time that drawings wait and are drawn added to the trace at hand, if there is one."""
    if not is_traced():
        return
    queued = time.time_ns()
    for drawing in drawings:
        drawing.picture.add_done_callback(partial(_trace, drawing, queued))


def _trace(drawing: Drawing, queued: int, picture: "Future[Picture]") -> None:
    now, error = time.time_ns(), _error_of(picture)
    past_span("queue", start=queued, end=drawing.began or now, attributes={}, error="" if drawing.began else error)
    if not drawing.began:
        return
    sampling = drawing.sampling
    attributes: dict[str, str | int | float | bool] = {
        "heliograph.mode": sampling.mode,
        "heliograph.width": sampling.width,
        "heliograph.height": sampling.height,
        "heliograph.batch_images": drawing.company,
    }
    if not error:
        attributes["heliograph.steps"] = drawing.usage.steps
        attributes["heliograph.gpu_seconds"] = drawing.usage.gpu_seconds
    past_span("draw", start=drawing.began, end=now, attributes=attributes, error=error)


def _error_of(picture: "Future[Picture]") -> str:
    if picture.cancelled():
        return "cancelled"
    error = picture.exception()
    if isinstance(error, APIError):
        return error.code or str(error.status)
    return type(error).__name__ if error else ""


def _told_once(exporter: "SpanExporter", address: str) -> "SpanExporter":
    """Return an exporter that logs once when the collector goes away, and once when it is back."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult  # noqa: PLC0415 - only if wanted

    class ToldOnce(SpanExporter):
        _away = False

        def export(self, spans: "Sequence[ReadableSpan]") -> "SpanExportResult":
            result = exporter.export(spans)
            away = result is not SpanExportResult.SUCCESS
            if away and not self._away:
                log.warning("traces: the collector at %s takes no spans; they are dropped meanwhile", address)
            elif self._away and not away:
                log.info("traces: the collector at %s takes spans again", address)
            self._away = away
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

    return ToldOnce()
