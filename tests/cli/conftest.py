"""Fixtures: the command line run as real processes."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.serving import ROOT, Serving
from cluster.leash import Leash
from cluster.processes import is_running
from cluster.waiting import eventually


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture
def cli() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`heliograph ARGUMENTS`, run until it ends."""

    def run(*arguments: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "heliograph", *map(str, arguments)]
        environment = os.environ | (env or {})
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)

    return run


@pytest.fixture
def start_serve(tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    """`heliograph serve ARGUMENTS`, started and left running until the test's end."""
    started: list[Leash] = []

    def start(*arguments: str | Path, env: dict[str, str] | None = None) -> Serving:
        leash = Leash(
            [sys.executable, "-m", "heliograph", "serve", *arguments],
            log=tmp_path / f"serve-{len(started)}.log",
            env={**os.environ, **(env or {})},
            cwd=tmp_path,
            grace=20.0,
        )
        started.append(leash)
        return Serving(leash)

    yield start
    for leash in started:
        leash.stop()


@pytest.fixture
def nothing_left() -> Callable[[list[int]], None]:
    """Assert that processes are gone, or go within some seconds."""

    def check(processes: list[int]) -> None:
        eventually(lambda: not any(map(is_running, processes)), what="end of every process", timeout=30.0)

    return check
