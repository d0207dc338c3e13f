"""Fixtures for the tests of the contract package against a real API server."""

from pathlib import Path

import pytest

from cluster.control_plane import ControlPlane


@pytest.fixture(scope="session")
def imagemodels(cluster: ControlPlane) -> ControlPlane:
    """The control plane, with the CustomResourceDefinition as it is checked in."""
    cluster.kubectl("apply", "-f", Path(__file__).resolve().parents[2] / "crds")
    cluster.kubectl("wait", "--for=condition=Established", "crd/imagemodels.heliograph.dev")
    return cluster
