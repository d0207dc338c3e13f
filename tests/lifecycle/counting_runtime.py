"""The runtime as it is, with a worker that counts in place of a model. A program: manifest, host and port are told."""

import sys
from pathlib import Path
from unittest.mock import patch

from heliograph_runtime.main import run
from heliograph_runtime.settings import RuntimeSettings
from lifecycle import counting_worker

if __name__ == "__main__":
    command = (sys.executable, "-P", str(Path(counting_worker.__file__)))
    with patch("heliograph_runtime.worker.process._COMMAND", command):
        settings = {"manifest": sys.argv[1], "host": sys.argv[2], "port": sys.argv[3]}
        sys.exit(run(RuntimeSettings.model_validate(settings)))
