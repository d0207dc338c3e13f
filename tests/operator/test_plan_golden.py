"""The planners turn each golden/<case>/input.yaml, with its settings.yaml if there is one, into its children.yaml.

Run as a program, this file writes the children.yaml files anew: read the difference before you commit it.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.children import Plan, plan, plan_children
from heliograph_operator.settings import OperatorSettings

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.name for path in GOLDEN.iterdir())
IMAGES = {
    "fetcher_image": "fetcher:1",
    "runtime_image_diffusers": "diffusers-runtime:1",
    "runtime_image_sdcpp": "sdcpp-runtime:1",
    "runtime_image_diffusers_cuda": "diffusers-cuda-runtime:1",
    "runtime_image_sdcpp_cuda": "sdcpp-cuda-runtime:1",
}
RESTRICTED_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip


class Readable(yaml.SafeDumper):
    """Writes every value out, and text of several lines as it is."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Readable.add_representer(str, Readable.represent_text)


def read(case: str) -> tuple[ImageModel, OperatorSettings]:
    folder = GOLDEN / case
    settings = folder / "settings.yaml"
    given = yaml.safe_load(settings.read_text()) if settings.exists() else {}
    model = ImageModel.from_object(yaml.safe_load((folder / "input.yaml").read_text()))
    return model, OperatorSettings.model_validate({**IMAGES, **given})


def planned(case: str) -> Plan:
    model, settings = read(case)
    return plan(model=model, settings=settings)


def children(case: str) -> list[dict[str, Any]]:
    """Return what there is for a model in time, whether its weights have to be fetched before or not."""
    model, settings = read(case)
    return plan_children(model=model, settings=settings)


def rendered(case: str) -> str:
    return yaml.dump_all(children(case), Dumper=Readable, sort_keys=False, width=120, allow_unicode=True)


def pod_template(case: str) -> dict[str, Any]:
    (deployment,) = (child for child in children(case) if child["kind"] == "Deployment")
    template: dict[str, Any] = deployment["spec"]["template"]
    return template


def test_there_are_cases() -> None:
    assert len(CASES) >= 9


@pytest.mark.parametrize("case", CASES)
def test_children_are_as_in_the_golden_file(case: str) -> None:
    assert rendered(case) == (GOLDEN / case / "children.yaml").read_text()


@pytest.mark.parametrize("case", CASES)
def test_planning_twice_gives_the_same(case: str) -> None:
    model, settings = read(case)
    assert plan_children(model=model, settings=settings) == plan_children(model=model, settings=settings)


@pytest.mark.parametrize("case", [case for case in CASES if case != "alias"])
def test_pods_are_restricted_and_hold_nothing_of_the_users_in_a_command(case: str) -> None:
    pod = pod_template(case)["spec"]
    (container,) = pod["containers"]
    assert container["command"] == ["heliograph", "runtime"]
    assert container["args"] == pod_template("minimal")["spec"]["containers"][0]["args"]
    assert {key for volume in pod["volumes"] for key in volume} - {"name"} <= RESTRICTED_VOLUMES
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert all("value" in item for item in container["env"])


def test_replicas_and_routes_do_not_roll_the_pods() -> None:
    assert pod_template("scaled") == pod_template("minimal") == pod_template("disabled")


def test_an_alias_has_no_children() -> None:
    assert planned("alias").children == []
    assert planned("alias").engine is None


def test_a_gpu_that_cannot_be_had_is_a_warning() -> None:
    (warning,) = planned("cuda-without-profile").warnings
    assert warning.reason == "CudaUnavailable"
    assert planned("cuda-with-profile").warnings == []


if __name__ == "__main__":
    for name in CASES:
        (GOLDEN / name / "children.yaml").write_text(rendered(name))
