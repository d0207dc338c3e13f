"""Fixtures: namespaces that an operator serves, and models in them whose weights are fetched."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.control_plane import ControlPlane
from cluster.definitions import define_imagemodels
from cluster.nodes import nodes
from fetcher_pods import NODE
from operator_rig import Served, make_namespace, running_operator
from runtime.file_host import file_host
from sharers import Sharers


@pytest.fixture
def unserved(imagemodels: ControlPlane) -> Iterator[Served]:
    """A namespace for a test that runs its own operator."""
    served = make_namespace(imagemodels)
    yield served
    imagemodels.admin.delete(f"/api/v1/namespaces/{served.namespace}").raise_for_status()


@pytest.fixture(scope="session")
def served(imagemodels: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A namespace with an operator that does not list again while the tests run: what they see came by events."""
    served = make_namespace(imagemodels)
    folder = tmp_path_factory.mktemp("operator")
    profiles = json.dumps({"ghost": {"runtimeClassName": "absent"}})
    options = ("--namespaces", served.namespace, "--resync-seconds", "86400", "--profiles", profiles)
    with running_operator(folder, served.kubeconfig, *options) as operator:
        operator.wait_until_ready()
        yield served
    imagemodels.admin.delete(f"/api/v1/namespaces/{served.namespace}").raise_for_status()


@pytest.fixture(scope="module")
def _fetchers_node(imagemodels: ControlPlane) -> Iterator[None]:
    with nodes(imagemodels.admin, {NODE: {}}):
        yield


@pytest.fixture
def unserved_sharers(unserved: Served, _fetchers_node: None, tmp_path: Path) -> Iterator[Sharers]:
    """Models that share a claim, in a namespace for a test that runs its own operator."""
    with file_host() as host:
        host.files = {f"/{name}.gguf": b"GGUF" + name.encode() * 1000 for name in ("one", "two", "three")}
        yield Sharers(unserved, host, tmp_path)


@pytest.fixture
def sharers(unserved_sharers: Sharers, tmp_path: Path) -> Iterator[Sharers]:
    """Models that share a claim, in a namespace that an operator serves."""
    served = unserved_sharers.served
    with running_operator(tmp_path, served.kubeconfig, "--namespaces", served.namespace) as operator:
        operator.wait_until_ready()
        yield unserved_sharers


@pytest.fixture(scope="module")
def own_cluster(binaries: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of the module's own, for tests that break it."""
    with ControlPlane(folder=tmp_path_factory.mktemp("own"), binaries=binaries) as control_plane:
        define_imagemodels(control_plane)
        # Its garbage collector learns of a new kind when it starts, or else within half a minute.
        with control_plane.without("kube-controller-manager"):
            pass
        yield control_plane
