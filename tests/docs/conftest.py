"""Fixtures: a model that is served, and a cluster of the documents' own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.serving import Serving
from cluster.control_plane import ControlPlane
from docs.administrator import Administrator
from docs.blocks import ROOT
from docs.reader import start_server


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the gateway that README's first command starts."""
    folder = tmp_path_factory.mktemp("make-run")
    leash = start_server("make run", folder=folder, log=folder / "server.log")
    try:
        serving = Serving(leash)
        serving.wait_ready()
        yield serving.url
    finally:
        leash.stop()


@pytest.fixture(scope="module")
def administrator(
    binaries: dict[str, Path], helm: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Administrator]:
    """A control plane that documents may install on and uninstall from, beside the one that other tests share."""
    programs = tmp_path_factory.mktemp("programs")
    (programs / "kubectl").symlink_to(binaries["kubectl"])
    with ControlPlane(folder=tmp_path_factory.mktemp("cluster-of-documents"), binaries=binaries) as cluster:
        yield Administrator(cluster, programs, tmp_path_factory.mktemp("pods-of-documents"), helm)
