"""Fixtures of the charts' tests."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from charts.variants import CHARTS, Render


@pytest.fixture(scope="session")
def render(helm: Callable[..., str]) -> Render:
    """`helm template` of a chart as the release `heliograph`."""

    def run(chart: str, *options: str, namespace: str = "default") -> list[dict[str, Any]]:
        text = helm("template", "heliograph", CHARTS / chart, "--namespace", namespace, *options)
        return [document for document in yaml.safe_load_all(text) if document]

    return run
