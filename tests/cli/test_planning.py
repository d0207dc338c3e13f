"""`heliograph plan` as a user calls it."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.control_plane import ControlPlane
from heliograph.serve.manifests import read_file
from heliograph_operator.plan.children import plan_children
from heliograph_operator.settings import OperatorSettings

Cli = Callable[..., subprocess.CompletedProcess[str]]

GPU = "name: big\nbackend: diffusers\nparameters: {model: owner/name}\ncuda: true\n"
UID = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def example(root: Path) -> Path:
    return root / "examples" / "tiny.yaml"


@pytest.fixture
def expected(example: Path) -> list[dict[str, Any]]:
    ((_, model),) = read_file(example)
    return plan_children(model=replace(model, namespace="art", uid=UID), settings=OperatorSettings())


def gpu_limits(text: str) -> list[str]:
    """Return the extended resources that the runtimes ask for."""
    (deployment,) = (item for item in yaml.safe_load_all(text) if item["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return [name for name in container["resources"].get("limits", {}) if "/" in name]


def test_the_objects_are_those_of_the_operator(cli: Cli, example: Path, expected: list[dict[str, Any]]) -> None:
    done = cli("plan", example, "--namespace", "art")

    assert (done.returncode, done.stderr) == (0, "")
    assert list(yaml.safe_load_all(done.stdout)) == expected
    title = "# ImageModel art/tiny: engine diffusers, for the spec has a diffusers block"
    assert [line for line in done.stdout.splitlines() if line.startswith("#")] == [title]


def test_they_can_be_had_as_json_and_by_name(cli: Cli, example: Path, expected: list[dict[str, Any]]) -> None:
    as_json = json.loads(cli("plan", example, "-n", "art", "-o", "json").stdout)
    names = cli("plan", example, "-n", "art", "-o", "names").stdout.splitlines()

    assert (as_json["kind"], as_json["items"]) == ("List", expected)
    assert [name.partition("/")[2] for name in names] == [item["metadata"]["name"] for item in expected]
    assert {name.partition("/")[0] for name in names} >= {"configmap", "service", "deployment.apps"}


def test_what_waits_for_the_weights_comes_after_the_job_that_fetches_them(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_text(GPU)
    done = cli("plan", path)
    at_once, _, later = done.stdout.partition("---\n# Once the weights are there:\n")

    assert [item["kind"] for item in yaml.safe_load_all(at_once)][-1] == "Job"
    assert [item["kind"] for item in yaml.safe_load_all(later)] == ["ConfigMap", "Deployment"]


def test_a_manifests_own_namespace_wins(cli: Cli, example: Path, tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(example.read_text().replace("metadata:\n", "metadata:\n  namespace: own\n"))

    assert {item["metadata"]["namespace"] for item in yaml.safe_load_all(cli("plan", path).stdout)} == {"own"}


def test_the_api_server_takes_the_objects(cli: Cli, cluster: ControlPlane, namespace: str, root: Path) -> None:
    made = cli("plan", root / "examples", "--namespace", namespace, "--output", "json")
    answer = cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "--filename", "-", input=made.stdout)

    assert made.returncode == 0
    assert answer.stdout.count("created") == len(json.loads(made.stdout)["items"])


def test_settings_come_from_a_file_and_from_the_environment(cli: Cli, tmp_path: Path) -> None:
    model, settings = tmp_path / "model.yaml", tmp_path / "settings.yaml"
    model.write_text(GPU)
    settings.write_text("gpu_profile: {gpuResource: amd.com/gpu}\n")
    environment = {"HELIOGRAPH_OPERATOR_GPU_PROFILE": '{"gpuResource": "nvidia.com/gpu"}'}

    without = cli("plan", model)
    assert gpu_limits(without.stdout) == []
    assert without.stderr.startswith("big: A GPU is asked for, but this cluster has no GPU profile")
    assert gpu_limits(cli("plan", model, env=environment).stdout) == ["nvidia.com/gpu"]
    assert gpu_limits(cli("plan", model, "--settings", settings, env=environment).stdout) == ["amd.com/gpu"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu_profle: {}", "settings.gpu_profle: is no setting of the operator; did you mean gpu_profile?"),
        ("tempo: 1", "settings.tempo: is no setting of the operator; `heliograph operator --help` lists them"),
        ("gpu_profile: {gpuResource: 3}", "settings.gpu_profile.gpuResource: must be a string, not the number 3"),
        ("gpu_profile: {gpu: a}", "settings.gpu_profile.gpu: is not a known key; remove it"),
        ("resync_seconds: 0", "settings.resync_seconds: must be at least 1, not 0"),
        ("[1]", "settings: must be one object of keys and values, such as gpu_profile"),
        ("a: [", "manifest: is not valid YAML"),
    ],
)
def test_bad_settings_are_refused(cli: Cli, example: Path, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    done = cli("plan", example, "--settings", path)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(f"Error: --settings: {path}: {message}")


def test_aliases_and_what_the_operator_would_refuse_are_told(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(f"{GPU}---\n{GPU.replace('big', 'lost')}serving: {{profile: none}}\n---\nname: a\nalias: big\n")
    done = cli("plan", path, "-o", "names")

    assert done.returncode == 1
    assert {name.partition("/")[2].partition("-")[0] for name in done.stdout.splitlines()} == {"big"}
    assert f"Error: {path}: spec.serving.profile: none is no profile of this cluster's; there are: none" in done.stderr
    assert "a: an alias of big: a route, of which no object is made" in done.stderr


def test_a_bad_manifest_is_refused(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(f"step: -1\n{GPU}")
    done = cli("plan", path)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: {path}: spec.step: must be at least 0, not -1\n"
