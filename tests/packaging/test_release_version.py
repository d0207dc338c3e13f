"""One version in all places, and a changelog in Keep a Changelog's form, by the command that makes a release."""

import datetime
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

TODAY = datetime.datetime.now(datetime.UTC).date()
LOG = """# Changelog

Changes that a user can notice.

## [Unreleased]

### Added

- A thing.

### Fixed

- Another.
"""


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """What states the version, with the scripts, and a changelog of a few lines."""
    several = ("charts/*/Chart.yaml", "docs/*.md", "scripts/release/*.py")
    found = [path.relative_to(root) for pattern in several for path in root.glob(pattern)]
    for name in [Path("pyproject.toml"), Path("README.md"), Path("scripts/steps.py"), *found]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(LOG)
    return tmp_path


def call(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "release.version", *arguments],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout / "scripts"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refusal(checkout: Path, *arguments: str) -> str:
    """Return why the command refuses, which it does with one line and without a traceback, and changes no file."""
    before = {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()}
    done = call(checkout, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()} == before
    return done.stderr


def current(checkout: Path) -> str:
    version = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["version"]
    assert isinstance(version, str)
    return version


def after(version: str) -> str:
    major, minor, patch = version.split(".")
    return f"{major}.{int(minor) + 1}.{patch}"


def test_all_places_state_one_version(root: Path) -> None:
    done = call(root)

    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"Version {re.escape(current(root))} in \d+ places and CHANGELOG.md\n", done.stdout)


def test_a_new_version_is_written_everywhere(checkout: Path) -> None:
    new = after(current(checkout))

    done = call(checkout, "--to", new)

    assert done.returncode == 0, done.stderr
    assert f'git tag --annotate v{new} --message "Heliograph {new}"\n  git push origin v{new}\n' in done.stdout
    assert current(checkout) == new
    for path in checkout.glob("charts/*/Chart.yaml"):
        chart = yaml.safe_load(path.read_text())
        assert (chart["version"], chart["appVersion"]) == (new, new)
    assert (
        f"## [Unreleased]\n\n## [{new}] - {TODAY}\n\n### Added\n\n- A thing." in (checkout / "CHANGELOG.md").read_text()
    )


def test_nothing_but_the_version_is_changed(checkout: Path, root: Path) -> None:
    new = after(current(checkout))
    assert call(checkout, "--to", new).returncode == 0

    changed = {}
    for path in checkout.rglob("*.*"):
        name = str(path.relative_to(checkout))
        if path.is_file() and name != "CHANGELOG.md":
            pairs = list(zip((root / name).read_text().splitlines(), path.read_text().splitlines(), strict=True))
            assert all(old.replace(current(root), new) == now for old, now in pairs if old != now)
            changed[name] = [old for old, now in pairs if old != now]
    assert {"pyproject.toml", "README.md", "docs/images.md"} <= {name for name, lines in changed.items() if lines}
    assert all(
        changed[f"charts/{chart}/Chart.yaml"] for chart in ("heliograph", "heliograph-crds", "heliograph-models")
    )
    assert not any(lines for name, lines in changed.items() if name.startswith("scripts/"))


def test_the_first_release_may_be_of_the_version_that_is_there(checkout: Path) -> None:
    version = current(checkout)

    assert call(checkout, "--to", version).returncode == 0
    assert call(checkout, "--tag", f"v{version}").returncode == 0
    assert f"{version} is released already" in refusal(checkout, "--to", version)


def test_the_notes_of_a_release_are_its_part_of_the_changelog(checkout: Path) -> None:
    new = after(current(checkout))
    assert call(checkout, "--to", new).returncode == 0

    assert call(checkout, "--notes").stdout == "### Added\n\n- A thing.\n\n### Fixed\n\n- Another.\n"


def test_there_are_no_notes_before_the_first_release(checkout: Path) -> None:
    assert f"CHANGELOG.md has no section for {current(checkout)}" in refusal(checkout, "--notes")


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        ("0.0.1", "version 0.0.1 is older than"),
        ("v1.2.0", "version 'v1.2.0' is not of the form 1.2.0"),
        ("1.2", "version '1.2' is not of the form 1.2.0"),
        ("1.2.0-rc.1", "version '1.2.0-rc.1' is not of the form 1.2.0"),
        ("1.02.0", "version '1.02.0' is not of the form 1.2.0"),
    ],
)
def test_a_version_that_cannot_be(checkout: Path, version: str, problem: str) -> None:
    assert problem in refusal(checkout, "--to", version)


def test_a_release_that_says_nothing(checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n")

    assert "nothing stands under Unreleased" in refusal(checkout, "--to", after(current(checkout)))


def test_a_chart_that_was_left_behind(checkout: Path) -> None:
    chart = checkout / "charts" / "heliograph" / "Chart.yaml"
    chart.write_text(re.sub(r"(?m)^appVersion: .*$", "appVersion: 9.9.9", chart.read_text()))

    told = refusal(checkout)

    assert re.search(r"charts/heliograph/Chart\.yaml:\d+: appVersion is 9\.9\.9", told)
    assert f"`make version TO={current(checkout)}` writes it everywhere" in told


def test_an_image_of_another_version_in_a_page(checkout: Path) -> None:
    page = checkout / "docs" / "page.md"
    page.write_text("A line.\n\n    docker run heliograph-fetcher:9.9.9\n")

    assert "docs/page.md:3: heliograph-fetcher is 9.9.9" in refusal(checkout)


def test_a_tag_of_another_version(checkout: Path) -> None:
    version = current(checkout)
    assert call(checkout, "--to", version).returncode == 0

    assert f"the tag is v9.9.9, pyproject.toml has version {version}" in refusal(checkout, "--tag", "v9.9.9")
    assert "the tag of this commit is" in refusal(checkout, "--tag", version)


def test_a_tag_of_a_release_of_which_the_changelog_says_nothing(checkout: Path) -> None:
    version = current(checkout)

    assert f"CHANGELOG.md has no section for {version}" in refusal(checkout, "--tag", f"v{version}")


def test_a_release_in_the_changelog_alone(checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text(LOG + "\n## [9.9.9] - 2026-01-31\n\n### Added\n\n- A thing.\n")

    assert "CHANGELOG.md's newest release is 9.9.9" in refusal(checkout)


def released(version: str, day: str) -> str:
    return f"\n## [{version}] - {day}\n\n### Added\n\n- A thing.\n"


@pytest.mark.parametrize(
    ("log", "problem"),
    [
        ("# Changes\n", "the first line must be `# Changelog`"),
        ("# Changelog\n", "the first section must be `## [Unreleased]`"),
        (LOG + "\n## [Unreleased]\n", "`## [Unreleased]` must be of the form `## [1.2.0] - 2026-01-31`"),
        (LOG + "\n## 1.0.0 (2026-01-31)\n", "`## 1.0.0 (2026-01-31)` must be of the form"),
        (LOG + "\n## [1.0] - 2026-01-31\n", "version '1.0' is not of the form 1.2.0"),
        (LOG + "\n## [1.0.0] - 2026-02-31\n", "2026-02-31 is no day"),
        (LOG + "\n## [1.0.0] - 2026-01-31\n", "`## [1.0.0] - 2026-01-31` says nothing"),
        (LOG + released("1.0.0", "2026-01-31") + released("1.1.0", "2026-01-30"), "1.0.0 (2026-01-31) stands above"),
        (LOG + released("1.1.0", "2026-01-30") + released("1.0.0", "2026-01-31"), "1.1.0 (2026-01-30) stands above"),
        (LOG.replace("### Added\n", ""), "under [Unreleased], everything stands in a list under `### Added`"),
        (LOG.replace("Fixed", "Mended"), "under [Unreleased], `### Mended` must be one of Added, Changed"),
        (LOG.replace("Fixed", "Added"), "under [Unreleased], a `###` heading stands twice"),
        (LOG.replace("- Another.\n", ""), "under [Unreleased], `### Fixed` must be followed by a list"),
    ],
)  # fmt: skip
def test_a_changelog_of_another_form(checkout: Path, log: str, problem: str) -> None:
    (checkout / "CHANGELOG.md").write_text(log)

    assert problem in refusal(checkout)
