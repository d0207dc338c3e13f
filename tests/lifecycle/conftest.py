"""Fixtures: a namespace on a real API server with the model `tiny`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.control_plane import ControlPlane
from lifecycle.balancer import Balancer
from lifecycle.rig import Rig
from lifecycle.rig import rig as make_rig


@pytest.fixture
def rig(imagemodels: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Rig]:
    """The rig."""
    with make_rig(imagemodels, namespace, tmp_path) as made:
        yield made


@pytest.fixture
def balancer() -> Iterator[Balancer]:
    """The load balancer before the gateways."""
    with Balancer() as running:
        yield running
