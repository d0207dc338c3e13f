"""The scripted worker, which tells of each picture that it begins and ends. A program."""

import os
import sys
from unittest.mock import patch

from heliograph_api.spec import ImageModelSpec
from heliograph_runtime.engines.protocol import Batch, Engine, OnStep, Picture
from heliograph_runtime.worker import __main__ as worker
from runtime.scripted_worker import ScriptedEngine

COUNTED = "HELIOGRAPH_TESTS_COUNTED"
"""Variable that names the file that it is written to."""


class CountingEngine(ScriptedEngine):
    """Writes `begun PROMPT` and `ended PROMPT` into a file."""

    def generate(self, batch: Batch, on_step: OnStep) -> list[Picture]:
        _tell("begun", batch)
        pictures = super().generate(batch, on_step)
        _tell("ended", batch)
        return pictures


def make_engine(_spec: ImageModelSpec) -> Engine:
    return CountingEngine()


def _tell(what: str, batch: Batch) -> None:
    lines = "".join(f"{what} {prompt}\n" for prompt in batch.prompts)
    # One write to the end of a file is not torn apart by those of other processes.
    file = os.open(os.environ[COUNTED], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, lines.encode())
    os.close(file)


if __name__ == "__main__":
    with patch.object(worker, "make_engine", make_engine):
        sys.exit(worker.main())
