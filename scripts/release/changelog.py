"""CHANGELOG.md as Keep a Changelog 1.1 has it; the standard library alone."""

from __future__ import annotations

import datetime
import itertools
import re
from dataclasses import dataclass

from steps import StepError

KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
UNRELEASED = "[Unreleased]"
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


@dataclass(frozen=True)
class Release:
    """What changed in one release.

    Attributes:
        version: Its version.
        date: Its day.
        body: The Markdown under its heading, without blank lines around it.
    """

    version: str
    date: datetime.date
    body: str


@dataclass(frozen=True)
class Changelog:
    """A changelog.

    Attributes:
        unreleased: What will be in the next release, as Markdown.
        releases: The releases from new to old.
    """

    unreleased: str
    releases: list[Release]


def numbers(version: str) -> tuple[int, ...]:
    """Return a version's three numbers.

    Raises:
        StepError: It is not of the form 1.2.0.
    """
    match = _VERSION.fullmatch(version)
    if match is None:
        raise StepError(f"version {version!r} is not of the form 1.2.0: three numbers, no v, no pre-release")
    return tuple(int(number) for number in match.groups())


def parse(text: str) -> Changelog:
    """Read a changelog.

    Raises:
        StepError: It is not of the form; the message names the heading and the remedy.
    """
    title, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    if not title.startswith("# Changelog\n"):
        raise StepError("CHANGELOG.md: the first line must be `# Changelog`")
    sections = [(heading, body.strip()) for heading, _, body in (part.partition("\n") for part in parts)]
    if not sections or sections[0][0] != UNRELEASED:
        raise StepError(f"CHANGELOG.md: the first section must be `## {UNRELEASED}`")
    for heading, body in sections:
        _check_lists(heading, body)
    releases = [_release(heading, body) for heading, body in sections[1:]]
    for newer, older in itertools.pairwise(releases):
        if numbers(newer.version) <= numbers(older.version) or newer.date < older.date:
            raise StepError(
                f"CHANGELOG.md: {newer.version} ({newer.date}) stands above {older.version} ({older.date}): "
                "releases go from the newest to the oldest"
            )
    return Changelog(sections[0][1], releases)


def _check_lists(heading: str, body: str) -> None:
    before, *lists = re.split(r"^### ", body, flags=re.MULTILINE)
    if before.strip():
        raise StepError(f"CHANGELOG.md: under {heading}, everything stands in a list under `### Added` or its like")
    kinds = [part.partition("\n")[0] for part in lists]
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise StepError(f"CHANGELOG.md: under {heading}, `### {unknown[0]}` must be one of {', '.join(KINDS)}")
    if len(set(kinds)) < len(kinds):
        raise StepError(f"CHANGELOG.md: under {heading}, a `###` heading stands twice: merge the two lists")
    if empty := [kind for kind, part in zip(kinds, lists, strict=True) if "\n- " not in part]:
        raise StepError(f"CHANGELOG.md: under {heading}, `### {empty[0]}` must be followed by a list (`- ...`)")


def _release(heading: str, body: str) -> Release:
    match = re.fullmatch(r"\[(.*)\] - (\d{4}-\d\d-\d\d)", heading)
    if match is None:
        raise StepError(f"CHANGELOG.md: `## {heading}` must be of the form `## [1.2.0] - 2026-01-31`")
    numbers(match[1])
    try:
        date = datetime.date.fromisoformat(match[2])
    except ValueError as error:
        raise StepError(f"CHANGELOG.md: `## {heading}`: {match[2]} is no day") from error
    if not body:
        raise StepError(f"CHANGELOG.md: `## {heading}` says nothing: give it a list under `### Added` or its like")
    return Release(match[1], date, body)


def with_release(text: str, version: str, date: datetime.date) -> str:
    """Return the changelog with what is not released under the heading of a new release, and nothing unreleased.

    Raises:
        StepError: The changelog is not of the form, nothing changed, or the release is not newer than the last.
    """
    log = parse(text)
    if any(release.version == version for release in log.releases):
        raise StepError(f"CHANGELOG.md: {version} is released already")
    if not log.unreleased:
        raise StepError("CHANGELOG.md: nothing stands under Unreleased: say what a user can notice of this release")
    heading = f"## {UNRELEASED}\n"
    released = text.replace(heading, f"{heading}\n## [{version}] - {date.isoformat()}\n", 1)
    parse(released)
    return released


def notes(text: str, version: str) -> str:
    """Return what changed in a release, as Markdown.

    Raises:
        StepError: The changelog is not of the form, or has no such release.
    """
    for release in parse(text).releases:
        if release.version == version:
            return release.body
    raise StepError(f"CHANGELOG.md has no section for {version}: `make version TO={version}` writes one")
