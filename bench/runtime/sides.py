"""The two sides as processes: the bare script, and heliograph's runtime with its gateway or without."""

import json
import os
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from bench.runtime.subjects import Subject

from heliograph_runtime.worker.process import DEFAULT_ENVIRONMENT

_PATH = "/v1/images/generations"
_HOST = "127.0.0.1"
_REQUEST_SECONDS = 900.0
_READY_SECONDS = 1800.0
_POLL_SECONDS = 0.05
_STOP_SECONDS = 60.0
# As the runtime sets it for its worker: without it torch's threads spin against whatever else runs and large batches
# wait for memory, and the script would lose for reasons that are none of its own.
_ENVIRONMENT = {**DEFAULT_ENVIRONMENT, "HF_HUB_OFFLINE": "1"}


class Side:
    """A process that draws, from its start until the block is left."""

    def __init__(self, command: list[str], log: Path, **environment: str) -> None:
        self.started = time.perf_counter()
        """When the process was started."""
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**_ENVIRONMENT, **os.environ, **environment},
            )

    @property
    def process(self) -> psutil.Process:
        """Return the process, for its memory and its children."""
        return psutil.Process(self._process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.communicate(timeout=_STOP_SECONDS)

    def _line(self) -> str:
        """Return the next line of its output."""
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return line
        raise self._ended()

    def _check_runs(self) -> None:
        if self._process.poll() is not None:
            raise self._ended()

    def _ended(self) -> SystemExit:
        return SystemExit(f"{type(self).__name__} ended: {self._log.read_text()[-2000:]}")


class Bare(Side):
    """The bare script."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        script = Path(__file__).with_name(subject.script)
        super().__init__([sys.executable, str(script), json.dumps(subject.settings())], folder / "bare.log")

    def draw(self, calls: int, *, steps: int, pictures: int = 1) -> float:
        """Draw pictures, so many in each of the calls, and return the seconds that it took."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{calls} {pictures} {steps}\n")
        self._process.stdin.flush()
        return float(self._line())


class Runtime(Side):
    """A runtime as a pod runs it."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        self.port = _free_port()
        command = [sys.executable, "-P", "-m", "heliograph", "runtime", "--manifest", str(_manifest(subject, folder))]
        options = ["--models-dir", str(subject.folder.parent), "--host", _HOST, "--port", str(self.port)]
        super().__init__([*command, *options], folder / "runtime.log")

    def wait_ready(self) -> None:
        """Wait until the model is loaded."""
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            self._check_runs()
            if _is_ready(self.port):
                return
            time.sleep(_POLL_SECONDS)
        raise SystemExit(f"the model was not ready after {_READY_SECONDS:.0f} s: {self._log.read_text()[-2000:]}")


class Serve(Side):
    """`heliograph serve`: a gateway, and behind it a runtime."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        command = [sys.executable, "-P", "-m", "heliograph", "serve", str(_manifest(subject, folder)), "--port", "0"]
        options = ["--models-dir", str(subject.folder.parent), "--verbose"]
        data = str(folder / "gateway")
        super().__init__([*command, *options], folder / "serve.log", HELIOGRAPH_GATEWAY_DATA_DIR=data)
        self.port = 0
        """Port of the gateway, once it is ready."""

    def wait_ready(self) -> None:
        """Wait until the model is loaded."""
        while " is ready at http" not in (line := self._line()):
            pass
        self.port = int(line.partition("http://")[2].split()[0].rpartition(":")[2])

    @property
    def runtime_port(self) -> int:
        """Return the port of the runtime behind the gateway."""
        for child in self.process.children():
            command = child.cmdline()
            if "--port" in command:
                return int(command[command.index("--port") + 1])
        raise self._ended()


def ask(port: int, subject: Subject, *, seed: int = 0, steps: int | None = None, form: str = "b64_json") -> float:
    """Have a gateway or a runtime draw one picture, and return the seconds from connecting to the answer's last byte.

    Args:
        port: Port of the gateway or the runtime.
        subject: What to draw.
        seed: Seed of the picture.
        steps: Inference steps; the subject's own when None.
        form: The request's response_format.

    Raises:
        SystemExit: There was no picture.
    """
    body = json.dumps(subject.request(seed=seed, steps=steps, form=form))
    start = time.perf_counter()
    connection = HTTPConnection(_HOST, port, timeout=_REQUEST_SECONDS)
    try:
        connection.request("POST", _PATH, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    seconds = time.perf_counter() - start
    if response.status != 200:
        raise SystemExit(f"{response.status}: {content.decode()[:400]}")
    return seconds


def _is_ready(port: int) -> bool:
    connection = HTTPConnection(_HOST, port, timeout=_REQUEST_SECONDS)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _manifest(subject: Subject, folder: Path) -> Path:
    path = folder / f"{subject.name}.yaml"
    path.write_text(json.dumps(subject.manifest()))  # JSON is YAML
    return path


def _free_port() -> int:
    with socket.create_server((_HOST, 0)) as listener:
        return int(listener.getsockname()[1])
