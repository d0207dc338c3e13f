"""Measure what the gateway adds to a request, beside LiteLLM's proxy and nginx before the same replica.

    python -m bench.gateway [--rounds 7] [--only heliograph --only nginx] [--streams 1000]

Each side is a process on one core; the client and the replica, which answers at once, share another. Rounds of the
sides alternate, since the speed of a shared machine drifts. What is added is what a side takes beyond asking the
replica itself. The time of its core is what its processes computed, which other work changes less than the rest.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from bench.gateway.sides import NAMES, Side, all_sides, cores

_SMALL, _LARGE, _SECONDS, _CONNECTIONS = 200, 40, 3.0, 32
_GOALS = {"small p50": 1.5, "small p99": 5.0, "1.4 MB p50": 1.5, "1.4 MB p99": 5.0}
_LEAST_RATE, _LEAST_TIMES_LITELLM, _MOST_STREAMS_MIB = 300, 4, 300


class _Round(NamedTuple):
    """What one round of a side found: latencies and time of its core for each request in ms, and requests/s."""

    p50: float
    p99: float
    rate: float
    cpu: float


def main() -> None:
    options = _options()
    with (
        tempfile.TemporaryDirectory(prefix="heliograph-bench-") as folder,
        all_sides(Path(folder), names=options.only or NAMES) as sides,
    ):
        for side in sides:
            _ask("latency", side, 30, "small")
        _latency(sides, options.rounds)
        _throughput(sides, options.rounds)
        _memory(sides, options.streams)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.gateway", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each side (default 7)")
    parser.add_argument("--streams", type=int, default=1000, help="streams that are open at a time (default 1000)")
    parser.add_argument(
        "--only", choices=NAMES, action="append", help="sides beside the replica itself; all by default"
    )
    return parser.parse_args()


def _latency(sides: list[Side], rounds: int) -> None:
    for title, kind, count in (("small", "small", _SMALL), ("1.4 MB", "large", _LARGE)):
        found: dict[str, list[_Round]] = {side.name: [] for side in sides}
        for _ in range(rounds):
            for side in sides:
                found[side.name].append(_measured(side, count, "latency", side, count, kind))
        print(f"\nlatency of one request after the other, {title} answers ({rounds} rounds of {count})")
        direct = _median(found["direct"])
        for name, taken in found.items():
            typical = _median(taken)
            text = f"  {name:12} p50 {typical.p50:7.2f} ms   p99 {typical.p99:7.2f} ms"
            if name != "direct":
                text += f"   added p50 {typical.p50 - direct.p50:6.2f}, p99 {typical.p99 - direct.p99:6.2f} ms"
                text += f"   of its core {typical.cpu:5.2f} ms"
            if name == "heliograph":
                text += _goal(f"{title} p50", typical.p50 - direct.p50) + _goal(
                    f"{title} p99", typical.p99 - direct.p99
                )
            print(text, flush=True)


def _throughput(sides: list[Side], rounds: int) -> None:
    found: dict[str, list[_Round]] = {side.name: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            found[side.name].append(_measured(side, None, "throughput", side, _SECONDS, _CONNECTIONS))
    print(f"\nrequests/s at {_CONNECTIONS} connections, small answers ({rounds} rounds of {_SECONDS:g} s)")
    rates = {name: _median(taken).rate for name, taken in found.items()}
    for name, taken in found.items():
        typical = _median(taken)
        text = f"  {name:12} {typical.rate:8.0f} requests/s   p99 {typical.p99:8.1f} ms"
        if name != "direct":
            text += f"   of its core {typical.cpu:5.2f} ms for each"
        if name == "heliograph":
            text += f"   goal {_LEAST_RATE}: {_met(typical.rate >= _LEAST_RATE)}"
            if "LiteLLM" in rates:
                times = typical.rate / rates["LiteLLM"]
                is_met = times >= _LEAST_TIMES_LITELLM
                text += f"; {times:.1f} times LiteLLM, goal {_LEAST_TIMES_LITELLM}: {_met(is_met)}"
        print(text, flush=True)


def _memory(sides: list[Side], streams: int) -> None:
    print(f"\nmemory after that, and with {streams} open streams")
    for side in sides:
        if side.process is None:
            continue
        text = f"  {side.name:12} {side.memory() / 2**20:6.0f} MiB"
        # LiteLLM does not pass on the events of an image.
        if side.name != "LiteLLM":
            held = _held_streams(side, streams)
            text += f"   {held:6.0f} MiB"
            if side.name == "heliograph":
                text += f"   goal {_MOST_STREAMS_MIB}: {_met(held <= _MOST_STREAMS_MIB)}"
        print(text, flush=True)


def _held_streams(side: Side, count: int) -> float:
    """Return what a side has in memory while so many streams are open, in MiB."""
    command = _client("streams", side, count)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout
        line = client.stdout.readline()
        if not line or json.loads(line)["open"] != count:
            raise SystemExit(f"{side.name}: not all of {count} streams opened")
        return side.memory() / 2**20


def _client(*arguments: Any) -> list[str]:
    what, side, *rest = arguments
    command = [sys.executable, "-m", "bench.gateway.client", what, str(side.port), *map(str, rest)]
    return ["taskset", "--cpu-list", cores()[0], *command]


def _ask(*arguments: Any) -> dict[str, Any]:
    """Run the client, and return what it found; every request must have been answered."""
    done = subprocess.run(_client(*arguments), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{arguments[1].name}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    if found["failed"]:
        raise SystemExit(f"{arguments[1].name}: {found['failed']} requests were not answered with 200")
    return found


def _measured(side: Side, count: int | None, *arguments: Any) -> _Round:
    """Run the client, and return what it found and what the side's processes computed meanwhile."""
    before = side.cpu_seconds()
    found = _ask(*arguments)
    computed = side.cpu_seconds() - before
    requests = count or found["answered"]
    rate = requests / found["took"] if "took" in found else 0.0
    return _Round(found["p50"], found["p99"], rate, 1000 * computed / requests)


def _median(rounds: list[_Round]) -> _Round:
    return _Round(*(statistics.median(values) for values in zip(*rounds, strict=True)))


def _goal(name: str, value: float) -> str:
    goal = _GOALS.get(name)
    return "" if goal is None else f"   goal {name} {goal:g}: {_met(value <= goal)}"


def _met(is_met: bool) -> str:
    return "met" if is_met else "MISSED"


if __name__ == "__main__":
    main()
