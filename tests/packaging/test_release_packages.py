"""What `make dist` builds: the same bytes from clones in different places, at different times, for different users."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

COMMITTED = 1_700_000_000
WHO = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "A"}
# What differs between two machines: where the clone lies, the umask, the zone, the language, the order of sets.
MACHINES = {
    "one": {"UMASK": "022", "TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1"},
    "two/deep er/two": {"UMASK": "077", "TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2"},
}


def git(*arguments: str | Path, date: int = COMMITTED) -> str:
    settings = {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_COMMITTER_EMAIL": "a@example.org",
    }
    dates = {"GIT_AUTHOR_DATE": f"{date} +0000", "GIT_COMMITTER_DATE": f"{date} +0000"}
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", *arguments],
        env=os.environ | WHO | settings | dates,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def repository(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of one commit and no tag: the files of the checkout as they are now, be it a clone or not."""
    home = tmp_path_factory.mktemp("repository")
    git("-C", home, "init", "--quiet", "--initial-branch=main")
    checkout = ("--git-dir", home / ".git", "--work-tree", root)
    git(*checkout, "add", "--all", root)
    git(*checkout, "commit", "--quiet", "--message", "All")
    git("-C", home, "reset", "--quiet", "--hard")
    return home


def make_dist(clone: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", 'umask "$UMASK"; exec "$0" -m release.packages', sys.executable],
        cwd=clone,
        env=os.environ | environment | {"PYTHONPATH": str(clone / "scripts")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def dists(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folder dist of two clones, the second with files that are not committed."""
    found: list[Path] = []
    for place, environment in MACHINES.items():
        clone = tmp_path_factory.mktemp("clones") / place
        clone.parent.mkdir(parents=True, exist_ok=True)
        git("clone", "--quiet", "--no-hardlinks", repository, clone)
        if found:
            (clone / "gateway" / "heliograph_gateway" / "draft.py").write_text("raise SystemExit\n")
            (clone / "README.md").write_text("Another.\n")
        done = make_dist(clone, environment)
        assert done.returncode == 0, done.stderr
        assert ("Changes that are not committed are left out." in done.stdout) is bool(found)
        found.append(clone / "dist")
    return found


@pytest.fixture(scope="module")
def dist(dists: list[Path]) -> Path:
    return dists[0]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_clones_give_the_same_bytes(dists: list[Path]) -> None:
    one, two = map(contents, dists)

    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []


def test_every_file_has_the_commits_time(dist: Path) -> None:
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        assert {member.mtime for member in tar} == {COMMITTED}
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        assert {info.date_time[:5] for info in packed.infolist()} == {(2023, 11, 14, 22, 13)}
    for chart in (dist / "charts").iterdir():
        with tarfile.open(chart) as tar:
            assert {member.mtime for member in tar} == {COMMITTED}


def test_checksums_are_those_of_the_files(dist: Path) -> None:
    lines = [line.split("  ") for line in (dist / "SHA256SUMS").read_text().splitlines()]
    files = contents(dist)
    del files["SHA256SUMS"]

    assert {name: checksum for checksum, name in lines} == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items()
    }


def test_the_source_archive_holds_what_is_built_and_tested(dist: Path, repository: Path) -> None:
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {member.name.partition("/")[2] for member in tar if member.isfile()}

    committed = set(git("-C", repository, "ls-files").split("\n")) - {""}
    assert names - committed == {"PKG-INFO"}
    assert {"LICENSE", "CHANGELOG.md", "pyproject.toml", "tests/conftest.py", "examples/tiny.yaml"} <= names
    assert archive.stat().st_size < 60e6


def test_charts_are_packed_with_the_version_of_the_package(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    version = wheel.name.split("-")[1]
    charts = {path.name: path for path in (dist / "charts").iterdir()}

    assert set(charts) == {f"{name}-{version}.tgz" for name in ("heliograph", "heliograph-crds", "heliograph-models")}
    for path in charts.values():
        with tarfile.open(path) as tar:
            found = tar.extractfile(path.name.removesuffix(f"-{version}.tgz") + "/Chart.yaml")
            assert found is not None
            chart = yaml.safe_load(found.read())
        assert (chart["version"], chart["appVersion"]) == (version, version)


@pytest.mark.parametrize("lock", ["run", "sdcpp", "control-plane", "fetcher", "runtime-diffusers", "runtime-sdcpp"])
def test_bills_of_materials_hold_the_lock(dist: Path, root: Path, lock: str) -> None:
    (wheel,) = dist.glob("*.whl")
    version = wheel.name.split("-")[1]
    bill = json.loads((dist / "sbom" / f"heliograph-{version}-{lock}.cdx.json").read_text())
    pins = dict(
        line.split(" ")[0].split("==")
        for line in (root / "requirements" / f"{lock}.lock").read_text().splitlines()
        if "==" in line
    )

    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "heliograph"
    assert {component["name"]: component["version"] for component in bill["components"]} == pins
    assert all(component["purl"].startswith("pkg:pypi/") for component in bill["components"])


def test_a_folder_that_is_no_clone_says_so(repository: Path, tmp_path: Path) -> None:
    shutil.copytree(repository / "scripts", tmp_path / "scripts")

    done = make_dist(tmp_path, MACHINES["one"] | {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)})

    assert done.returncode == 1
    assert "Packages are built from a clone" in done.stderr
    assert "Traceback" not in done.stderr
