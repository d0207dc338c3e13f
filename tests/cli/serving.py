"""A running `heliograph serve`, as the tests look at it."""

from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from cluster.leash import Leash
from cluster.processes import descendants

ROOT = Path(__file__).resolve().parents[2]
READY = "Heliograph is ready at "
LOADING_SECONDS = 240.0


@dataclass
class Serving:
    """A running `heliograph serve`.

    Attributes:
        leash: The process, with its output in `leash.log`.
    """

    leash: Leash

    @property
    def output(self) -> str:
        return self.leash.log.read_text(encoding="utf-8", errors="replace")

    @property
    def url(self) -> str:
        return self.output.partition(READY)[2].split()[0]

    @property
    def command(self) -> str:
        """The command that draws a picture, as it is printed."""
        return next(line for line in self.output.splitlines() if line.startswith("curl "))

    def wait_ready(self) -> None:
        self.leash.wait_until(lambda: READY in self.output and "python3 -c" in self.output, timeout=LOADING_SECONDS)

    def wait_for(self, text: str, *, timeout: float = LOADING_SECONDS) -> None:
        self.leash.wait_until(lambda: text in self.output, what=repr(text), timeout=timeout)

    def processes(self) -> list[int]:
        """Every process of this run that is there now, serve itself first."""
        return [self.leash.pid, *descendants(self.leash.pid)]

    def runtime(self, model: str) -> psutil.Process:
        """The runtime of a model, by the manifest that it was started with."""
        children = psutil.Process(self.leash.pid).children()
        (found,) = [child for child in children if any(f"/{model}-" in part for part in child.cmdline())]
        return found

    def answers(self) -> bool:
        """Tell whether tiny draws."""
        body = {"model": "tiny", "prompt": "a red circle", "steps": 1}
        try:
            answer = httpx.post(f"{self.url}/v1/images/generations", json=body, timeout=60, trust_env=False)
        except httpx.TransportError:
            return False
        return answer.status_code == 200
