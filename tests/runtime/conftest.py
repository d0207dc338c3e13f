"""Fixtures of the runtime's tests."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cluster.addresses import free_port
from cluster.leash import Leash
from runtime.runtimes import EXAMPLES, TINY, Runtime, command, write_manifest

# For the tests that load torch into this process; the runtime sets the same for its worker.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
os.environ["HF_HUB_OFFLINE"] = "1"

StartRuntime = Callable[..., Runtime]


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """A ready runtime with the tiny model, one for the whole test run; no test may leave it otherwise."""
    folder = tmp_path_factory.mktemp("runtime")
    port = free_port()
    with Leash(command(EXAMPLES / "tiny.yaml", port=port), log=folder / "log") as leash:
        running = Runtime(leash, f"http://127.0.0.1:{port}")
        running.wait_ready()
        yield running


@pytest.fixture(scope="module")
def start_runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartRuntime]:
    """Starts a runtime with a changed spec of the tiny model, or of `base`, or other options, until it is ready."""
    with ExitStack() as stack:

        def start(
            spec: dict[str, Any] | None = None,
            *,
            base: Mapping[str, Any] = TINY,
            models_dir: Path = EXAMPLES,
            **options: object,
        ) -> Runtime:
            port = free_port()
            folder = tmp_path_factory.mktemp("runtime")
            manifest = write_manifest(folder, {**base, **(spec or {})})
            arguments = command(manifest, port=port, models_dir=models_dir, **options)
            leash = stack.enter_context(Leash(arguments, log=folder / "log"))
            running = Runtime(leash, f"http://127.0.0.1:{port}")
            running.wait_ready()
            return running

        yield start
