"""A running `heliograph fetch`, as the tests look at it."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cluster.addresses import free_port
from cluster.leash import Leash
from heliograph_api.exits import FetchResult
from runtime.runtimes import write_manifest

SECONDS = 60.0


@dataclass(frozen=True)
class Fetch:
    """A fetch.

    Attributes:
        leash: The process.
        url: Where it answers how far it is.
        volume: Where to.
    """

    leash: Leash
    url: str
    volume: Path

    def wait(self) -> tuple[int, FetchResult]:
        """Wait for its end, and return its status and what it told."""
        status = self.leash.wait(timeout=SECONDS)
        told = FetchResult.read(self.log)
        assert told is not None, self.log
        return status, told

    def progress(self) -> dict[str, Any]:
        """Return how far it is; nothing as long as it does not answer."""
        try:
            return dict(httpx.get(f"{self.url}/progress", timeout=10, trust_env=False).json())
        except httpx.TransportError:
            return {}

    def wait_for_bytes(self, count: int) -> None:
        self.leash.wait_until(lambda: self.progress().get("done", 0) >= count, what=f"{count} bytes")

    @property
    def log(self) -> str:
        return self.leash.log.read_text()

    def files(self) -> dict[str, bytes]:
        """Return the files of the model by their places."""
        folder = self.volume / "models" / "dream"
        found = (path for path in folder.rglob("*") if path.is_file() and path.name != ".heliograph.json")
        return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def start_fetch(
    folder: Path,
    spec: Mapping[str, Any],
    *,
    environment: Mapping[str, str] | None = None,
    wrapper: Sequence[str] = (),
    **options: object,
) -> Fetch:
    """Start to fetch the weights of a spec into `folder`/volume, unless options name another.

    Args:
        folder: Folder for what the fetch needs.
        spec: The spec.
        environment: Further environment variables.
        wrapper: Words of a command that runs the fetch.
        options: Options of `heliograph fetch`.
    """
    port = free_port()
    scratch = folder / f"fetch-{port}"
    scratch.mkdir()
    given: dict[str, object] = {"volume": folder / "volume", "name": "dream", "port": port, **options}
    given["manifest"] = write_manifest(scratch, spec)
    flags = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    command = [*wrapper, sys.executable, "-P", "-m", "heliograph", "fetch", *flags]
    # The other tests of the runtime must ask no hub.
    env = {**os.environ, "HF_HUB_OFFLINE": "0", **(environment or {})}
    leash = Leash(command, log=scratch / "log", env=env)
    return Fetch(leash, f"http://127.0.0.1:{port}", Path(str(given["volume"])))
