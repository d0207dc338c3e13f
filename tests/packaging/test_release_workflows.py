"""The workflows run the make targets that there are, with pinned actions and no right that a job does not need.

zizmor, which `make lint` runs, looks for what an attacker could make of them.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from runtime.registry_host import registry

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())
PINNED = re.compile(r"(actions/[a-z-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)")
MAKE = re.compile(r"(?<!`)\bmake (?:--silent )?([a-z-]+)")
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
# What each right is for: whoever adds one says so here.
RIGHTS = {
    "actions: read": "ask whether CI has passed",
    "actions: write": "start CI on a branch",
    "attestations: write": "keep attestations",
    "contents: read": "check out",
    "contents: write": "make a release, push a branch",
    "id-token: write": "sign attestations, publish without a token",
    "packages: write": "push images and charts",
    "pages: write": "publish the documentation",
    "pull-requests: write": "open a pull request",
}

every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    workflow = yaml.safe_load(path.read_text())
    assert isinstance(workflow, dict)
    return workflow


def release_jobs() -> dict[str, Any]:
    jobs = read(ROOT / ".github" / "workflows" / "release.yml")["jobs"]
    assert isinstance(jobs, dict)
    return jobs


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


@every_workflow
def test_actions_are_pinned_by_commit_and_tell_their_version(path: Path) -> None:
    used = re.findall(r"^\s*(?:- )?uses: (.*)$", path.read_text(), re.MULTILINE)

    assert len(used) == len([step for step in steps(path) if "uses" in step])
    assert [line for line in used if not PINNED.fullmatch(line)] == []


@every_workflow
def test_an_action_is_pinned_alike_everywhere(path: Path) -> None:
    everywhere = {match for other in WORKFLOWS for match in PINNED.findall(other.read_text())}

    for action, *_ in PINNED.findall(path.read_text()):
        assert len([pin for pin in everywhere if pin[0] == action]) == 1, action


@every_workflow
def test_rights_are_given_to_jobs_alone(path: Path) -> None:
    workflow = read(path)

    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        given = {f"{scope}: {level}" for scope, level in job["permissions"].items()}
        assert given <= RIGHTS.keys(), name


@every_workflow
def test_jobs_end_and_do_not_pile_up(path: Path) -> None:
    workflow = read(path)

    assert workflow["concurrency"]["group"]
    assert all(job["timeout-minutes"] <= 120 for job in workflow["jobs"].values())


@every_workflow
def test_the_token_is_kept_out_of_the_checkout_and_of_commands(path: Path) -> None:
    assert "secrets." not in path.read_text()
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
        assert "${{" not in step.get("run", ""), "an expression in a command is code: pass it by env"


@every_workflow
def test_make_targets_are_there(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = MAKE.findall("\n".join(step.get("run", "") for step in steps(path)))

    assert called
    assert [target for target in called if target not in targets] == []


@every_workflow
def test_jobs_wait_for_jobs_that_there_are(path: Path) -> None:
    jobs = read(path)["jobs"]

    for job in jobs.values():
        needs = job.get("needs", [])
        assert set([needs] if isinstance(needs, str) else needs) <= jobs.keys()


@every_workflow
def test_paths_are_there(path: Path) -> None:
    text = path.read_text()
    globs = [*re.findall(r"(?:requirements|tests)/[\w/*.]+", text)]

    for glob in globs:
        assert list(ROOT.glob(glob)), glob


@every_workflow
def test_a_job_with_rights_runs_no_code_of_packages(path: Path) -> None:
    """Builds, tests and all else that runs packages may read; what they made is signed and published elsewhere."""
    for name, job in read(path)["jobs"].items():
        called = {target for step in job["steps"] for target in MAKE.findall(step.get("run", ""))}
        if any(level == "write" for level in job["permissions"].values()):
            assert called <= {"notes", "publish"}, name


@pytest.mark.parametrize("job", ["images", "push"])
def test_every_image_is_released(root: Path, monkeypatch: pytest.MonkeyPatch, job: str) -> None:
    monkeypatch.syspath_prepend(str(root / "scripts"))
    recipes = import_module("image_recipes").RECIPES

    assert sorted(release_jobs()[job]["strategy"]["matrix"]["image"]) == sorted(recipe.name for recipe in recipes)


def test_every_chart_is_released(root: Path) -> None:
    charts = sorted(chart.parent.name for chart in root.glob("charts/*/Chart.yaml"))

    assert release_jobs()["charts"]["strategy"]["matrix"]["chart"] == charts


def before(job: str) -> set[str]:
    """Return the jobs of a release that a job waits for, be it through others."""
    needs = release_jobs()[job].get("needs", [])
    waited = {needs} if isinstance(needs, str) else set(needs)
    return waited.union(*map(before, waited))


def test_what_cannot_be_taken_back_comes_last() -> None:
    failing = {"check", "packages", "attest", "images", "push", "charts", "site"}

    assert before("index") == failing
    assert before("release") == failing | {"index"}
    assert {"packages", "images", "site"} <= before("push"), "everything is made before anything is published"


@pytest.mark.parametrize("job", ["index", "release", "docs"])
def test_a_job_after_those_that_a_registry_takes_runs_without_one_too(job: str) -> None:
    """A job is skipped when one that it waits for was, through others too, unless its condition asks for a status."""
    needs, condition = release_jobs()[job]["needs"], release_jobs()[job]["if"]

    assert "!cancelled()" in condition
    for needed in [needs] if isinstance(needs, str) else needs:
        assert f"needs.{needed}.result == 'success'" in condition


def test_the_digest_that_is_attested_is_that_of_the_pushed_chart(
    root: Path, helm: Callable[..., str], tmp_path: Path
) -> None:
    (push,) = [step["run"] for step in release_jobs()["charts"]["steps"] if step.get("id") == "push"]
    (reading,) = re.findall(r"\$\((sed .* pushed)\)", push)
    assert "2>&1 | tee pushed" in push
    helm("package", root / "charts" / "heliograph-crds", "--version", "1.2.0", "--destination", tmp_path)
    with registry(tmp_path) as server:
        command = 'helm push --plain-http "$1" "oci://$2/charts" > pushed 2>&1; ' + reading
        packed, path = tmp_path / "heliograph-crds-1.2.0.tgz", f"{Path(sys.executable).parent}:/usr/bin:/bin"
        digest = subprocess.run(
            ["bash", "-ec", command, "push", packed, server.host],
            cwd=tmp_path,
            env={"PATH": path, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout.strip()
        url = f"http://{server.host}/v2/charts/heliograph-crds/manifests/{digest}"
        manifest = httpx.get(url, headers={"accept": OCI_MANIFEST}, trust_env=False)

    assert re.fullmatch("sha256:[0-9a-f]{64}", digest)
    assert manifest.json()["config"]["mediaType"] == "application/vnd.cncf.helm.config.v1+json"
