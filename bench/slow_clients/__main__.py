"""Measure what slow clients do to a good one: slowhttptest's three modes against the gateway on loopback.

    python -m bench.slow_clients [--connections 500] [--seconds 30] [--only headers --only body --only read]

A good client asks for one small picture after the other, before each attack and during it; the attack and the replica
share a core with it, the gateway has one of its own. slowhttptest looks at all of its connections all the time, which
takes most of a core, so that it has the lowest priority: else the good client would wait for it, and not for the
gateway. It must be on PATH (Debian's package of that name).
"""

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.gateway.sides import Side, all_sides, cores

_MOST_TIMES = 2.0
_OPENED_SECONDS = 10.0
"""After so long all the connections of an attack are open, and have as much of the answers as they take at once."""
_MODES = {
    "headers": ["-H", "-i", "5", "-x", "24"],
    "body": ["-B", "-i", "5", "-s", "8192", "-x", "24", "-t", "POST", "-f", "application/json"],
    "read": ["-X", "-k", "1", "-n", "5", "-w", "8", "-y", "16", "-z", "8"],
}
_PATHS = {
    "headers": "/v1/models",
    "body": "/v1/images/generations",
    # The largest answer that needs no key.
    "read": "/docs/static/swagger-ui-bundle.js",
}


def main() -> None:
    options = _options()
    with (
        tempfile.TemporaryDirectory(prefix="heliograph-bench-") as folder,
        all_sides(Path(folder), names=["heliograph"]) as (_, gateway),
    ):
        _p99(gateway, 3.0)
        for mode in options.only or _MODES:
            _attack(gateway, mode, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.slow_clients", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--connections", type=int, default=500, help="slow connections (default 500)")
    parser.add_argument("--seconds", type=float, default=30.0, help="seconds that are measured (default 30)")
    parser.add_argument("--only", choices=list(_MODES), action="append", help="modes of slowhttptest; all by default")
    options = parser.parse_args()
    if not shutil.which("slowhttptest"):
        parser.error("slowhttptest is not on PATH; install Debian's package of that name")
    return options


def _attack(gateway: Side, mode: str, options: argparse.Namespace) -> None:
    before = _p99(gateway, options.seconds)
    with _slow_clients(gateway, mode, options):
        time.sleep(_OPENED_SECONDS)
        held = _connections(gateway)
        during = _p99(gateway, options.seconds)
        memory = gateway.memory() / 2**20
    times = during / before
    print(
        f"slow {mode:8} {held:4} connections after {_OPENED_SECONDS:g} s, {_connections(gateway)} at the end, "
        f"{memory:.0f} MiB   a good client's p99 {before:6.2f} ms before, {during:6.2f} ms during: {times:.2f} times, "
        f"goal {_MOST_TIMES:g}: {'met' if times <= _MOST_TIMES else 'MISSED'}",
        flush=True,
    )


@contextlib.contextmanager
def _slow_clients(gateway: Side, mode: str, options: argparse.Namespace) -> Iterator[None]:
    seconds = str(int(options.seconds + 2 * _OPENED_SECONDS))
    url = f"http://127.0.0.1:{gateway.port}{_PATHS[mode]}"
    command = ["slowhttptest", "-c", str(options.connections), "-r", "200", "-l", seconds, "-p", "5", "-u", url]
    attack = subprocess.Popen(
        ["nice", "-n", "19", "taskset", "--cpu-list", cores()[0], *command, *_MODES[mode]],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        attack.terminate()
        attack.wait()
        time.sleep(1)


def _p99(gateway: Side, seconds: float) -> float:
    command = [sys.executable, "-m", "bench.gateway.client", "throughput", str(gateway.port), str(seconds), "1"]
    done = subprocess.run(["taskset", "--cpu-list", cores()[0], *command], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    if found["failed"]:
        raise SystemExit(f"{found['failed']} requests of the good client were not answered with 200")
    return float(found["p99"])


def _connections(gateway: Side) -> int:
    """Return how many sockets the gateway has open."""
    assert gateway.process
    links = [_target(entry) for entry in Path(f"/proc/{gateway.process.pid}/fd").iterdir()]
    return sum(link.startswith("socket:") for link in links)


def _target(entry: Path) -> str:
    # It may be closed by now.
    with contextlib.suppress(OSError):
        return str(entry.readlink())
    return ""


if __name__ == "__main__":
    main()
