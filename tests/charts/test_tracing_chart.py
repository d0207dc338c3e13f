"""Traces: what the chart tells the gateway, and the operator for its runtimes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts.variants import environment, only
from heliograph_operator.settings import OperatorSettings

CHART = Path(__file__).resolve().parents[2] / "charts" / "heliograph"
ENDPOINT = "http://collector.observability:4318"
OPTIONS = (
    *("--set", f"tracing.env.OTEL_EXPORTER_OTLP_ENDPOINT={ENDPOINT}", "--set", "tracing.collectorPodLabels.app=otel"),
    *("--set", "tracing.collectorNamespaceLabels.team=ops", "--set", "gateway.logFormat=json"),
    *("--set", "gateway.usageDays=30"),
)


def variables(text: str, component: str) -> dict[str, Any]:
    """Return the environment of a Deployment's container."""
    deployment = only(list(filter(None, yaml.safe_load_all(text))), "Deployment", f"heliograph-{component}")
    return environment(deployment["spec"]["template"]["spec"])


def test_the_variables_reach_both_parts(helm: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = helm("template", "heliograph", CHART, *OPTIONS)
    gateway = variables(text, "gateway")
    assert gateway["OTEL_EXPORTER_OTLP_ENDPOINT"] == ENDPOINT
    assert (gateway["HELIOGRAPH_GATEWAY_LOG_FORMAT"], gateway["HELIOGRAPH_GATEWAY_USAGE_DAYS"]) == ("json", "30")
    operator = variables(text, "operator")
    assert json.loads(operator["HELIOGRAPH_OPERATOR_TRACING_ENV"]) == {"OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT}
    for name in ("TRACING_ENV", "COLLECTOR_POD_LABELS", "COLLECTOR_NAMESPACE_LABELS"):
        monkeypatch.setenv(f"HELIOGRAPH_OPERATOR_{name}", operator[f"HELIOGRAPH_OPERATOR_{name}"])
    settings = OperatorSettings()
    assert settings.tracing_env == {"OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT}
    assert (settings.collector_pod_labels, settings.collector_namespace_labels) == ({"app": "otel"}, {"team": "ops"})


def test_nothing_is_traced_unless_it_is_asked_for(helm: Callable[..., str]) -> None:
    text = helm("template", "heliograph", CHART)
    for component in ("gateway", "operator"):
        assert not [name for name in variables(text, component) if "OTEL" in name or "TRACING" in name]


def test_other_variables_are_refused(helm: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="LD_PRELOAD"):
        helm("template", "heliograph", CHART, "--set", "tracing.env.LD_PRELOAD=x")
    monkeypatch.setenv("HELIOGRAPH_OPERATOR_TRACING_ENV", '{"LD_PRELOAD": "x"}')
    with pytest.raises(ValueError, match="LD_PRELOAD is no variable of OpenTelemetry's"):
        OperatorSettings()
