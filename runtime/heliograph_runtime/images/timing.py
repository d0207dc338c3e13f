"""How long a request takes, as the usage of its answer tells."""

import time
from typing import Any

from heliograph_api.images.answers import usage
from heliograph_api.usage import Usage
from heliograph_runtime.events import Progress


class Stopwatch:
    """Measures one request from when it is made; the steps of its first drawing stand for all.

    Attributes:
        used: What the pictures took that were finished so far.
    """

    def __init__(self) -> None:
        self.used = Usage()
        self._start = time.perf_counter()
        self._steps: list[tuple[float, Progress]] = []
        """The first and the last step that was told of."""

    def step(self, progress: Progress) -> None:
        """Note a step."""
        if not self._steps or progress.index == self._steps[0][1].index:
            self._steps[1:] = [(time.perf_counter(), progress)]

    def usage(self, *, images: int, steps: int) -> dict[str, Any]:
        """Return the usage of an answer, as of now.

        Args:
            images: Pictures drawn.
            steps: Steps that each was planned to take; what is told of them comes first.
        """
        if not self._steps:
            # Too fast to be told of, or nothing to tell of.
            elapsed = time.perf_counter() - self._start
            return usage(images=images, steps=steps, to_process=0, per_generation=elapsed / max(steps, 1))
        (first_at, first), (last_at, last) = self._steps[0], self._steps[-1]
        if last.done > first.done:
            each = (last_at - first_at) / (last.done - first.done)
        else:
            each = (first_at - self._start) / first.done
        waited = max(0.0, first_at - self._start - each * first.done)
        return usage(images=images, steps=first.steps, to_process=waited, per_generation=each)
