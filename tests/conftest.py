"""Fixtures that tests of several areas share."""

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer

from cluster.binaries import find_binaries
from cluster.control_plane import ControlPlane
from cluster.definitions import define_imagemodels
from scheduling import ComputingBesideWaiting


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ComputingBesideWaiting:
    """Have `--numprocesses 2` run what computes beside what waits."""
    return ComputingBesideWaiting(config, log)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the tests of a node out unless they are asked for by name: they take root and a machine to themselves."""
    node = Path(__file__).parent / "node"
    asked = (Path(argument.partition("::")[0]).resolve() for argument in config.args)
    return True if collection_path == node and not any(path.is_relative_to(node) for path in asked) else None


@pytest.fixture(scope="session", autouse=True)
def _gateway_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what gateways store out of the user's own data folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HELIOGRAPH_GATEWAY_DATA_DIR", str(tmp_path_factory.mktemp("gateway-data")))
        yield


@pytest.fixture(scope="session")
def binaries(request: pytest.FixtureRequest) -> dict[str, Path]:
    """The path of each Kubernetes program."""
    # A first build takes minutes and shows how far it is: pytest would keep that to itself.
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        return find_binaries()


@pytest.fixture(scope="session")
def cluster(binaries: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A running control plane, one for the whole test run."""
    with ControlPlane(folder=tmp_path_factory.mktemp("cluster"), binaries=binaries) as control_plane:
        yield control_plane


@pytest.fixture(scope="session")
def imagemodels(cluster: ControlPlane) -> ControlPlane:
    """The control plane, with the CustomResourceDefinition of ImageModels as it is checked in."""
    define_imagemodels(cluster)
    return cluster


@pytest.fixture
def namespace(cluster: ControlPlane) -> Iterator[str]:
    """The name of a namespace of the test's own, furnished for pods; its deletion is not waited for."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    cluster.admin.post("/api/v1/namespaces", json={"metadata": {"name": name}}).raise_for_status()
    cluster.wait_for_namespace(name)
    yield name
    cluster.admin.delete(f"/api/v1/namespaces/{name}").raise_for_status()


@pytest.fixture(scope="session")
def helm() -> Callable[..., str]:
    """The helm that the environment holds."""

    def run(*arguments: str | Path, env: dict[str, str] | None = None) -> str:
        program = Path(sys.executable).parent / "helm"
        result = subprocess.run(
            [program, *arguments], capture_output=True, text=True, check=False, timeout=120, env=env
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run
