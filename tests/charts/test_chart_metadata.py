"""What the charts say of themselves, for helm and for Artifact Hub."""

import tomllib
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from charts.variants import CHARTS, VARIANTS, Render
from heliograph_api import naming
from heliograph_api.spec import ImageModelSpec

NAMES = ("heliograph", "heliograph-crds", "heliograph-models")
CATEGORIES = {
    "ai-machine-learning", "database", "integration-delivery", "monitoring-logging", "networking", "security",
    "storage", "streaming-messaging", "skip-prediction",
}  # fmt: skip


def metadata(chart: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())
    return found


def annotation(chart: str, name: str) -> Any:
    return yaml.safe_load(metadata(chart)["annotations"][f"artifacthub.io/{name}"])


@pytest.mark.parametrize("chart", NAMES)
def test_versions_are_that_of_the_distribution(chart: str) -> None:
    project = tomllib.loads((CHARTS.parent / "pyproject.toml").read_text())["project"]
    found = metadata(chart)
    assert found["appVersion"] == project["version"]
    assert found["version"] == project["version"]
    assert annotation(chart, "license") == project["license"]


@pytest.mark.parametrize("chart", NAMES)
def test_artifact_hub_can_read_the_annotations(chart: str) -> None:
    assert annotation(chart, "category") in CATEGORIES
    changes = annotation(chart, "changes")
    assert changes
    for change in changes:
        assert change["kind"] in {"added", "changed", "deprecated", "removed", "fixed", "security"}
        assert change["description"]
    assert (CHARTS / chart / "README.md").read_text().startswith(f"# {chart}\n")


def test_the_images_are_those_of_the_values(render: Render) -> None:
    environment = [
        item.get("value", "")
        for document in render("heliograph")
        if document["kind"] == "Deployment"
        for container in document["spec"]["template"]["spec"]["containers"]
        for item in [{"value": container["image"]}, *container["env"]]
        if item.get("name", "image").lower().find("image") >= 0
    ]
    version = metadata("heliograph")["appVersion"]
    used = {value for value in environment if value.startswith("heliograph-") and value.endswith(f":{version}")}
    assert {entry["image"] for entry in annotation("heliograph", "images")} == used
    assert len(used) == 6


def test_the_definition_is_named_and_shown_by_an_example() -> None:
    (crd,) = annotation("heliograph-crds", "crds")
    group, version = naming.API_VERSION.split("/")
    assert (crd["name"], crd["kind"], crd["version"]) == (f"{naming.PLURAL}.{group}", naming.KIND, version)
    for example in annotation("heliograph-crds", "crdsExamples"):
        assert (example["apiVersion"], example["kind"]) == (naming.API_VERSION, naming.KIND)
        ImageModelSpec.model_validate(example["spec"])


@pytest.mark.parametrize("chart", NAMES)
def test_a_package_holds_all_that_it_renders(helm: Callable[..., str], chart: str, tmp_path: Any) -> None:
    helm("package", CHARTS / chart, "--destination", tmp_path)
    (package,) = tmp_path.iterdir()
    assert package.name == f"{chart}-{metadata(chart)['version']}.tgz"
    options = VARIANTS["exposed"] if chart == "heliograph" else ()
    assert helm("template", "it", package, *options) == helm("template", "it", CHARTS / chart, *options)


@pytest.mark.parametrize("version", ["1.29.5", "1.30.0", "1.34.4-gke.1"])
def test_kubernetes_must_be_new_enough(helm: Callable[..., str], version: str) -> None:
    command = ("template", "it", CHARTS / "heliograph", "--kube-version", version)
    if version.startswith("1.29"):
        with pytest.raises(AssertionError, match=r">=1\.30\.0-0 which is incompatible"):
            helm(*command)
    else:
        helm(*command)
