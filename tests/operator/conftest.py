"""Fixtures: namespaces that an operator serves."""

import json
from collections.abc import Iterator

import pytest

from cluster.control_plane import ControlPlane
from operator_rig import Served, apply_crd, make_namespace, running_operator


@pytest.fixture(scope="session")
def crd(cluster: ControlPlane) -> None:
    """The CustomResourceDefinition, as it is checked in."""
    apply_crd(cluster)


@pytest.fixture
def unserved(cluster: ControlPlane, crd: None) -> Iterator[Served]:
    """A namespace for a test that runs its own operator."""
    served = make_namespace(cluster)
    yield served
    cluster.admin.delete(f"/api/v1/namespaces/{served.namespace}").raise_for_status()


@pytest.fixture(scope="session")
def served(cluster: ControlPlane, crd: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A namespace with an operator that does not list again while the tests run: what they see came by events."""
    served = make_namespace(cluster)
    folder = tmp_path_factory.mktemp("operator")
    profiles = json.dumps({"ghost": {"runtimeClassName": "absent"}})
    options = ("--namespaces", served.namespace, "--resync-seconds", "86400", "--profiles", profiles)
    with running_operator(folder, served.kubeconfig, *options) as operator:
        operator.wait_until_ready()
        yield served
    cluster.admin.delete(f"/api/v1/namespaces/{served.namespace}").raise_for_status()
