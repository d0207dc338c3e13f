"""Writes metrics.md, what each part tells Prometheus, from the metrics themselves.

Run `make generate` after a change of one of them.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL

from heliograph_gateway import metrics as gateway
from heliograph_gateway.database import Database
from heliograph_gateway.health import Health
from heliograph_gateway.keys.keyring import KeyMetrics, Keyring
from heliograph_gateway.load import Loads
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.usage.ledger import Ledger
from heliograph_gateway.usage.meter import Meter
from heliograph_operator import metrics as operator
from heliograph_runtime import metrics as runtime
from heliograph_runtime.weights import answers as fetcher
from heliograph_runtime.weights.progress import Progress
from tables import listed, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry

TARGET = Path(__file__).with_name("metrics.md")
INTRODUCTION = """\
# Metrics

<!-- Written by docs/metrics.py from the metrics of each part; edit them instead. -->

What Prometheus scrapes at `/metrics` of each part. No label comes from a request, and the series of a model or a key
end with it. A histogram `NAME` has the series `NAME_bucket`, `NAME_sum` and `NAME_count`.
[kubernetes.md](kubernetes.md#watch-over-it) says who may scrape, and [operations.md](operations.md#what-to-watch) what
to look at.
"""


def reference() -> str:
    """Return the text of metrics.md."""
    return "\n".join(
        [
            INTRODUCTION,
            *_section("The gateway", "On the port that takes requests, for a key of the scope `admin`.", _gateway()),
            *_section(
                "The operator",
                "On its port 8081; those of its process (`process_...`) are beside them.",
                operator.Metrics().registry,
            ),
            *_section("The runtimes", "On the port that takes requests.", runtime.Metrics().registry),
            *_section("The fetchers", "While one is at work.", fetcher.metrics_of(Progress())),
        ]
    )


def _section(title: str, note: str, registry: CollectorRegistry) -> Iterator[str]:
    rows = ((f"`{name}`", kind, listed(labels), told) for name, kind, labels, told in sorted(_metrics(registry)))
    yield f"## {title}\n\n{note}\n\n{table(('metric', 'type', 'labels', 'meaning'), rows)}\n"


def _metrics(registry: CollectorRegistry) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Yield name, type, labels and meaning of each metric of ours."""
    # The library tells the names of labels nowhere but in these attributes, unless there is a series.
    for collector in registry._collector_to_names:  # noqa: SLF001
        for family in collector.collect():
            labels = getattr(collector, "_labelnames", ()) or getattr(family, "_labelnames", ())
            if family.name.startswith("heliograph_"):
                suffix = "_total" if family.type == "counter" else ""
                yield family.name + suffix, family.type, tuple(labels), family.documentation


def _gateway() -> CollectorRegistry:
    metrics = gateway.Metrics(RoutingTable(), Health(), Loads())
    Meter(metrics, Ledger(Database(URL.create("sqlite", database="never-opened")), days=1))
    metrics.registry.register(KeyMetrics(Keyring(GatewaySettings())))
    # What is read off the table is there once it was asked for.
    asyncio.run(metrics.read(()))
    return metrics.registry


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
