"""One trace through a real gateway and a real runtime."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from cli.serving import Serving
from cluster.addresses import free_port
from cluster.leash import Leash
from cluster.waiting import eventually
from gateway.collector import Collector, Span
from heliograph_gateway.tracing import start_tracing
from runtime.runtimes import EXAMPLES

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SECRET = "canary"
PATH = "/v1/images/generations"


@contextmanager
def serving(folder: Path, environment: Mapping[str, str]) -> Iterator[Serving]:
    """Run the tiny model behind a gateway, with some variables of the environment."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "heliograph",
        "serve",
        str(EXAMPLES / "tiny.yaml"),
        "--port",
        "0",
        "--verbose",
    ]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("HELIOGRAPH_", "OTEL_"))}
    env |= {"HELIOGRAPH_GATEWAY_DATA_DIR": str(folder / "data"), **environment}
    with Leash(command, log=folder / "log", env=env) as leash:
        run = Serving(leash)
        run.wait_ready()
        yield run


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture(scope="module")
def served(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("serve"), collector.environment) as run:
        yield run


def draw(
    served: Serving, *, headers: Mapping[str, str] | None = None, query: str = "", **body: object
) -> httpx.Response:
    content = {"model": "tiny", "prompt": f"a {SECRET}", "steps": 4, "size": "64x64", **body}
    return httpx.post(f"{served.url}{PATH}{query}", json=content, headers=headers, timeout=120, trust_env=False)


def trace_of(collector: Collector, trace_id: str, *, spans: int) -> list[Span]:
    """Return the spans of a trace, once there are so many."""

    def found() -> list[Span]:
        return [span for span in collector.spans if span.trace_id == trace_id]

    eventually(lambda: len(found()) >= spans, what=f"{spans} spans, not {[span.name for span in found()]}")
    return found()


def test_a_request_is_one_trace_through_both_processes(served: Serving, collector: Collector) -> None:
    response = draw(served, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"}, query=f"?x={SECRET}")
    assert response.status_code == 200
    spans = trace_of(collector, TRACE, spans=8)
    by_id = {span.span_id: span for span in spans}
    shape = {
        (span.service, span.name, by_id[span.parent_id].name if span.parent_id in by_id else span.parent_id)
        for span in spans
    }
    gateway, runtime, server = "heliograph-gateway", "heliograph-runtime", f"POST {PATH}"
    assert shape == {
        (gateway, server, PARENT),
        (gateway, "hold", server),
        (gateway, "POST", server),
        (runtime, server, "POST"),
        (runtime, "load inputs", server),
        (runtime, "queue", server),
        (runtime, "draw", server),
        (runtime, "encode", server),
    }
    (root,) = [span for span in spans if (span.service, span.name) == (gateway, server)]
    assert root.kind == 2
    assert root.attributes["http.request.method"] == "POST"
    assert root.attributes["http.route"] == PATH
    assert root.attributes["http.response.status_code"] == 200
    assert root.attributes["heliograph.request_id"] == response.headers["x-request-id"]
    assert root.attributes["heliograph.images"] == 1
    (attempt,) = [span for span in spans if span.name == "POST"]
    assert attempt.kind == 3
    assert attempt.attributes["http.response.status_code"] == 200
    (drawn,) = [span for span in spans if span.name == "draw"]
    assert drawn.attributes["heliograph.steps"] == 4
    assert (drawn.attributes["heliograph.width"], drawn.attributes["heliograph.height"]) == (64, 64)
    assert not any(span.failed for span in spans)
    (queued,) = [span for span in spans if span.name == "queue"]
    assert queued.end == drawn.start
    assert root.start <= attempt.start <= queued.start <= drawn.start < drawn.end <= attempt.end <= root.end


def test_a_stream_is_traced_alike(served: Serving, collector: Collector) -> None:
    trace_id = TRACE[::-1]
    response = draw(served, headers={"traceparent": f"00-{trace_id}-{PARENT}-01"}, stream=True, n=2)
    assert b"completed" in response.content
    names = sorted(span.name for span in trace_of(collector, trace_id, spans=11))
    assert names == sorted(
        [*["draw", "encode", "queue"] * 2, "hold", "load inputs", "POST", f"POST {PATH}", f"POST {PATH}"]
    )


def test_a_trace_begins_here_where_nobody_sent_one(served: Serving, collector: Collector) -> None:
    request_id = draw(served, headers={"traceparent": "nonsense"}).headers["x-request-id"]

    def found() -> list[Span]:
        return [span for span in collector.spans if span.attributes.get("heliograph.request_id") == request_id]

    eventually(lambda: bool(found()), what="span of the request")
    (root,) = found()
    assert root.parent_id == ""
    assert len(trace_of(collector, root.trace_id, spans=8)) == 8


def test_an_unsampled_trace_is_not_sent(served: Serving, collector: Collector) -> None:
    unsampled, sampled = "1" * 32, "2" * 32
    draw(served, headers={"traceparent": f"00-{unsampled}-{PARENT}-00"})
    draw(served, headers={"traceparent": f"00-{sampled}-{PARENT}-01"})
    trace_of(collector, sampled, spans=8)
    assert not [span for span in collector.spans if span.trace_id == unsampled]


def test_a_clients_mistake_is_no_failure_of_the_server(served: Serving, collector: Collector) -> None:
    trace_id = "3" * 32
    response = draw(served, headers={"traceparent": f"00-{trace_id}-{PARENT}-01"}, steps=-1)
    assert response.status_code == 400
    (span,) = trace_of(collector, trace_id, spans=1)
    assert (span.failed, span.attributes["http.response.status_code"]) == (False, 400)


def test_no_span_tells_what_it_must_not(served: Serving, collector: Collector) -> None:
    names = ("api-key", "x-api-key", "xi-api-key", "cookie", "user-agent")
    key = {"authorization": f"Bearer {SECRET}"} | dict.fromkeys(names, SECRET)
    trace_id = "4" * 32
    draw(served, headers={"traceparent": f"00-{trace_id}-{PARENT}-01", **key}, query=f"?{SECRET}={SECRET}")
    trace_of(collector, trace_id, spans=8)
    for path in (f"/v1/videos/{SECRET}", f"/{SECRET}", f"/files/{SECRET}?signature={SECRET}"):
        httpx.get(f"{served.url}{path}", trust_env=False)
    httpx.request("DELETE", f"{served.url}/v1/videos/{SECRET}", trust_env=False)
    eventually(lambda: collector.named("DELETE /v1/videos/{video_id}"), what="span of the last request")
    assert collector.bodies
    assert not [body for body in collector.bodies if SECRET.encode() in body]


def test_probes_make_no_spans(served: Serving, collector: Collector) -> None:
    probe = httpx.get(f"{served.url}/readyz", trust_env=False)
    assert probe.status_code == 200
    draw(served, headers={"traceparent": f"00-{'5' * 32}-{PARENT}-01"})
    trace_of(collector, "5" * 32, spans=8)
    request_id = probe.headers["x-request-id"]
    assert not [span for span in collector.spans if span.attributes.get("heliograph.request_id") == request_id]


def test_a_collector_that_is_away_is_told_of_once_and_disturbs_nobody(tmp_path: Path) -> None:
    port = free_port()
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://user:{SECRET}@127.0.0.1:{port}",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
    }
    away = f"traces: the collector at 127.0.0.1:{port} takes no spans"
    with serving(tmp_path, environment) as run:
        for _ in range(3):
            assert draw(run).status_code == 200
            eventually(lambda: f"heliograph_runtime.tracing: {away}" in run.output, what="line of the runtime")
        # The gateway's own log is not shown by this command; it answers all the same.
        with Collector(port=port) as collector:
            eventually(lambda: draw(run).status_code == 200 and collector.spans, what="spans")
            # Before it is away a second time.
            lines = run.output.splitlines()
    assert len([line for line in lines if away in line and "heliograph_runtime" in line]) == 1
    assert not [line for line in lines if SECRET in line]
    assert not [line for line in lines if "opentelemetry" in line]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"},
    ],
    ids=["unset", "disabled", "no exporter"],
)
def test_nothing_is_imported_where_no_traces_are_wanted(environment: Mapping[str, str]) -> None:
    program = """
import os, sys
from heliograph_gateway.tracing import start_tracing
import heliograph_gateway.app, heliograph_gateway.main
from heliograph_runtime import app, tracing
assert start_tracing(os.environ) is None
assert tracing.start_tracing(os.environ, model="m") is None
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))])
"""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={**plain, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT: must be an http"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: only http/protobuf",
        ),
    ],
    ids=["no URL", "gRPC"],
)
def test_what_is_not_understood_is_told_and_nothing_is_traced(
    environment: Mapping[str, str], problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert start_tracing(environment) is None
    assert problem in caplog.text
