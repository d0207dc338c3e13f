"""The workflows run the make targets that there are, with pinned actions and no right that a job does not need.

zizmor, which `make lint` runs, looks for what an attacker could make of them.
"""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())
PINNED = re.compile(r"(actions/[a-z-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)")
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
    called = re.findall(r"\bmake (?:--silent )?([a-z-]+)", "\n".join(step.get("run", "") for step in steps(path)))

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


def test_every_image_is_released(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(root / "scripts"))
    recipes = import_module("image_recipes").RECIPES
    images = read(root / ".github" / "workflows" / "release.yml")["jobs"]["images"]

    assert sorted(images["strategy"]["matrix"]["image"]) == sorted(recipe.name for recipe in recipes)
