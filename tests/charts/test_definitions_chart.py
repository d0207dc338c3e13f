"""The chart of definitions over the life of an installation: upgraded, uninstalled, installed again, taken over."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from charts.variants import CHARTS
from cluster.control_plane import ControlPlane
from cluster.waiting import eventually
from docs.blocks import blocks_run_by
from docs.reader import environment
from heliograph_api import naming

CRD = f"{naming.PLURAL}.{naming.API_VERSION.partition('/')[0]}"
MODELS = f"/apis/{naming.API_VERSION}/{naming.PLURAL}"
Helm = Callable[..., str]


@pytest.fixture
def own_cluster(binaries: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of the test's own: definitions are for a whole cluster."""
    with ControlPlane(folder=tmp_path_factory.mktemp("definitions"), binaries=binaries) as control_plane:
        yield control_plane


@pytest.fixture
def own_helm(own_cluster: ControlPlane, helm: Helm, tmp_path: Path) -> Helm:
    """helm for that cluster."""
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}

    def run(*arguments: str | Path) -> str:
        return helm(*arguments, "--kubeconfig", str(own_cluster.kubeconfig()), env=environment)

    return run


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The chart as an earlier version: without a field of today's."""
    folder = tmp_path / "older"
    shutil.copytree(CHARTS / "heliograph-crds", folder)
    (path,) = (folder / "files").iterdir()
    crd, *others = yaml.safe_load_all(path.read_text())
    del spec_of(crd)["properties"]["description"]
    path.write_text(yaml.safe_dump_all([crd, *others]))
    text = (folder / "Chart.yaml").read_text()
    (folder / "Chart.yaml").write_text(re.sub(r"(?m)^version: .*$", "version: 0.0.1", text))
    return folder


def spec_of(crd: dict[str, object]) -> dict[str, dict[str, object]]:
    """Return the schema of `spec`."""
    schema: dict[str, dict[str, object]] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]  # type: ignore[index]
    return schema


def definition(cluster: ControlPlane) -> dict[str, object]:
    found: dict[str, object] = json.loads(cluster.kubectl("get", "crd", CRD, "--output", "json").stdout)
    return found


def make_model(cluster: ControlPlane) -> None:
    eventually(lambda: cluster.admin.get(MODELS).is_success, what="ImageModels in the API")
    cluster.kubectl("apply", "--filename", CHARTS.parent / "examples" / "tiny.yaml")


def models(cluster: ControlPlane) -> list[str]:
    # kubectl asks again while the API server takes up a changed definition.
    names = cluster.kubectl("get", naming.PLURAL, "--all-namespaces", "--output", "name").stdout
    return [name.partition("/")[2] for name in names.split()]


def test_upgrades_reach_the_definition_and_models_outlive_the_release(
    own_cluster: ControlPlane, own_helm: Helm, older: Path
) -> None:
    own_helm("install", "definitions", older)
    assert "description" not in spec_of(definition(own_cluster))["properties"]
    make_model(own_cluster)
    own_helm("upgrade", "definitions", CHARTS / "heliograph-crds")
    assert "description" in spec_of(definition(own_cluster))["properties"]
    assert models(own_cluster) == ["tiny"]

    assert CRD in own_helm("uninstall", "definitions"), "helm says what it keeps"
    assert models(own_cluster) == ["tiny"]
    own_helm("install", "definitions", CHARTS / "heliograph-crds")
    assert models(own_cluster) == ["tiny"]

    own_helm("upgrade", "definitions", CHARTS / "heliograph-crds", "--set", "keep=false")
    own_helm("uninstall", "definitions")
    eventually(lambda: own_cluster.admin.get(MODELS).status_code == 404, what="end of the definition")


def test_an_installation_without_the_definition_says_so(own_cluster: ControlPlane, own_helm: Helm) -> None:
    missing = "THE DEFINITION OF IMAGEMODELS IS MISSING"
    assert missing in own_helm("install", "heliograph", CHARTS / "heliograph")
    own_helm("install", "definitions", CHARTS / "heliograph-crds")
    eventually(lambda: own_cluster.admin.get(MODELS).is_success, what="ImageModels in the API")
    assert missing not in own_helm("upgrade", "heliograph", CHARTS / "heliograph")


def test_what_kubectl_applied_is_taken_over_when_that_is_asked_for(
    own_cluster: ControlPlane, own_helm: Helm, tmp_path: Path
) -> None:
    plain, taking = (block.text for block in blocks_run_by("tests/charts/test_definitions_chart.py"))
    variables = environment(tmp_path, KUBECONFIG=str(own_cluster.kubeconfig()))

    def follow(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-e", "-c", command], cwd=CHARTS.parent, env=variables, capture_output=True, text=True, check=False,
            timeout=120,
        )  # fmt: skip

    own_cluster.kubectl("apply", "--filename", CHARTS.parent / "crds")
    make_model(own_cluster)
    refused = follow(plain)
    assert refused.returncode == 1
    assert "cannot be imported into the current release" in refused.stderr
    taken = follow(taking)
    assert taken.returncode == 0, taken.stderr
    assert follow(plain).returncode == 0, "from now on it is helm's"
    assert models(own_cluster) == ["tiny"]
    assert own_helm("list", "--namespace", "heliograph", "--short").split() == ["heliograph-crds"]
