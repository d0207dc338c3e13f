"""One version for the package, the charts and the changelog; the standard library alone.

`python -m release.version` checks that they agree, and with `--tag v1.2.0` that a tag agrees with them; `--to 1.2.0`
writes a new version everywhere, `--notes` prints what changed in this one. pyproject.toml holds the version, so that a
clone without tags builds the same as one with them.
"""

from __future__ import annotations

import argparse
import datetime
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from release import changelog
from release.changelog import numbers
from steps import Reporter, StepError, run_program

ROOT = Path(__file__).resolve().parents[2]
_IN_PYPROJECT = re.compile(r'(?m)^(version) = "(.*)"$')
_IN_CHART = re.compile(r"""(?m)^(version|appVersion): ["']?([^"'\s]*)["']?$""")
_NEXT = """Next (CONTRIBUTING.md, Releasing):
  make generate, make test and, as root, make test-node
  commit it as "Release {version}", push, and wait until CI has passed on main
  git tag --annotate v{version} --message "Heliograph {version}"
  git push origin v{version}"""
_OF_IMAGES = re.compile(r"\b(heliograph-[a-z-]+|VERSION)[:=](\d+\.\d+\.\d+)\b")


@dataclass(frozen=True)
class Statement:
    """A place that states the version.

    Attributes:
        place: File, line and what it is the version of, such as `charts/heliograph/Chart.yaml:6: appVersion`.
        version: The version that it states.
    """

    place: str
    version: str


def patterns(root: Path) -> list[tuple[Path, re.Pattern[str]]]:
    """Return the files that state the version, each with what finds what it is the version of, and the version."""
    charts = sorted(root.glob("charts/*/Chart.yaml"))
    pages = [root / "README.md", *sorted(root.glob("docs/*.md"))]
    found = [(root / "pyproject.toml", _IN_PYPROJECT), *((path, _IN_CHART) for path in charts)]
    return [*found, *((path, _OF_IMAGES) for path in (*charts, *pages))]


def stated(root: Path) -> list[Statement]:
    """Return all places that state the version, that of pyproject.toml first."""
    found = []
    for path, pattern in patterns(root):
        text = path.read_text(encoding="utf-8")
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Statement(f"{path.relative_to(root)}:{line}: {match[1]}", match[2]))
    return found


def check(root: Path, tag: str | None = None) -> str:
    """Return the version when all places agree on it.

    Args:
        root: The checkout.
        tag: A Git tag, which must be v and the version, of which the changelog must tell then.

    Raises:
        StepError: They do not agree, or the changelog is not of the form.
    """
    own, *others = stated(root)
    version = own.version
    numbers(version)
    if wrong := [other for other in others if other.version != version]:
        listing = "\n".join(f"  {other.place} is {other.version}" for other in wrong)
        raise StepError(
            f"pyproject.toml has version {version}, but\n{listing}\n`make version TO={version}` writes it everywhere"
        )
    releases = changelog.parse((root / "CHANGELOG.md").read_text(encoding="utf-8")).releases
    if releases and releases[0].version != version:
        raise StepError(
            f"pyproject.toml has version {version}, CHANGELOG.md's newest release is {releases[0].version}: "
            "one release is written into both by `make version TO=...`"
        )
    if tag is not None:
        _check_tag(tag, version, released=bool(releases))
    return version


def _check_tag(tag: str, version: str, *, released: bool) -> None:
    if tag != f"v{version}":
        raise StepError(f"the tag is {tag}, pyproject.toml has version {version}: the tag of this commit is v{version}")
    if not released:
        raise StepError(f"CHANGELOG.md has no section for {version}: run `make version TO={version}`, commit, tag anew")


def write(root: Path, version: str, date: datetime.date) -> None:
    """Write a new version into all places and make what is unreleased in the changelog that release.

    Nothing is written unless all of it can be. The version that pyproject.toml has already may be written once: the
    first release is of the version that the project began with.

    Raises:
        StepError: The version is no newer one, or the changelog is not of the form or says nothing of it.
    """
    current = stated(root)[0].version
    if numbers(version) < numbers(current):
        raise StepError(f"version {version} is older than {current}, which pyproject.toml has")
    log = root / "CHANGELOG.md"
    texts = {log: changelog.with_release(log.read_text(encoding="utf-8"), version, date)}
    for path, pattern in patterns(root):
        text = texts.get(path) or path.read_text(encoding="utf-8")
        texts[path] = pattern.sub(lambda match: match[0].replace(match[2], version), text)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")


def main() -> int:
    """Do what the command line asks; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m release.version", description="Check or write the version.")
    parser.add_argument("--tag", help="a Git tag that must be that of this version, such as v1.2.0")
    parser.add_argument("--to", metavar="VERSION", help="write this version everywhere")
    parser.add_argument("--notes", action="store_true", help="print what CHANGELOG.md has under this version")
    arguments = parser.parse_args()

    def work(_: Reporter) -> int:
        if arguments.to:
            write(ROOT, arguments.to, datetime.datetime.now(datetime.UTC).date())
        version = check(ROOT, arguments.tag)
        if arguments.notes:
            print(changelog.notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version))
            return 0
        print(f"Version {version} in {len(stated(ROOT))} places and CHANGELOG.md")
        if arguments.to:
            print(_NEXT.format(version=version))
        return 0

    return run_program(work)


if __name__ == "__main__":
    sys.exit(main())
