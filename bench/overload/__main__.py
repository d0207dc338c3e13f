"""Measure what a gateway makes of ten times the load that its replica can take.

    python -m bench.overload [--places 1 16] [--seconds 60]

A real gateway stands before a runtime whose device takes one request after another (`gateway.busy_runtime` of the
tests: real HTTP, a bounded queue, no model). For each number of places at the runtime, first some clients ask as fast
as they are answered: that is the top goodput. Then requests come at ten times that rate, whatever happens to those
before; clients that are refused come back when Retry-After says. Most of them are of three greedy keys; five small keys
ask for a fiftieth of the capacity each. The clients are of lower priority than gateway and runtime: on few cores the
measurement would else measure itself.
"""

import argparse
import asyncio
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.overload.crowd import Crowd, Tally

TESTS = Path(__file__).resolve().parents[2] / "tests"
GREEDY = ["greedy-1", "greedy-2", "greedy-3"]
SMALL = [f"small-{number}" for number in range(1, 6)]
OVERLOAD = 10
SMALL_SHARE = 0.02
GOAL = 0.95
_CLOSED_LOOP_CLIENTS = 48
_WARM_UP_SECONDS = 3.0
_NICE = 5


@dataclass
class Result:
    """What was found for one number of places.

    Attributes:
        top: Pictures per second of clients that ask again as soon as they are answered.
        goodput: Pictures per second under overload.
        tallies: What became of each owner's requests meanwhile.
        waits: The seconds that each owner's pictures took meanwhile.
    """

    top: float
    goodput: float
    tallies: dict[str, Tally]
    waits: dict[str, list[float]]


def main() -> None:
    options = _options()
    sys.path.append(str(TESTS))
    worst = 1.0
    with ExitStack() as running:
        folder = Path(running.enter_context(TemporaryDirectory(prefix="heliograph-bench-")))
        urls = {places: running.enter_context(_stack(folder, places, options.work)) for places in options.places}
        os.nice(_NICE)
        for places, url in urls.items():
            found = asyncio.run(_measure(url, seconds=options.seconds))
            _report(places, options.work, found)
            worst = min(worst, found.goodput / found.top)
    print(f"worst share of top goodput: {worst:.1%}, goal {GOAL:.0%}")
    sys.exit(worst < GOAL)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--places", type=int, nargs="+", default=[1, 16], help="requests that the runtime takes")
    parser.add_argument("--seconds", type=float, default=60.0, help="time of each of the two measurements (60)")
    parser.add_argument("--work", type=float, default=0.25, help="seconds that the device takes for a request (0.25)")
    return parser.parse_args()


@contextmanager
def _stack(folder: Path, places: int, work: float) -> Iterator[str]:
    """Run a runtime and a gateway before it; the value is the gateway's URL."""
    from gateway.leashed import leashed_gateway  # noqa: PLC0415 - the tests' modules are found only by now

    keys = folder / "keys.json"
    names = [*GREEDY, *SMALL]
    digests = [{"name": name, "sha256": hashlib.sha256(f"{name}-key".encode()).hexdigest()} for name in names]
    keys.write_text(json.dumps({"keys": digests}))
    limits = {"serving": {"limits": {"maxConcurrent": places}}}
    runtime = [sys.executable, "-m", "gateway.busy_runtime", "--seconds", str(work), "--room", str(places)]
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    with subprocess.Popen(runtime, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        try:
            replica = process.stdout.readline().strip()
            with leashed_gateway(folder / str(places), replica, tiny=limits, keys_file=keys) as url:
                yield url
        finally:
            process.terminate()


async def _measure(url: str, *, seconds: float) -> Result:
    owners = [*GREEDY, *SMALL]
    calm = Crowd(url, owners)
    start = time.monotonic()
    await calm.closed_loop(GREEDY[0], clients=_CLOSED_LOOP_CLIENTS, seconds=seconds)
    top = len(calm.tallies[GREEDY[0]].between(start + _WARM_UP_SECONDS, start + seconds)) / (seconds - _WARM_UP_SECONDS)
    await calm.aclose()

    crowd = Crowd(url, owners)
    greedy = top * (OVERLOAD - len(SMALL) * SMALL_SHARE) / len(GREEDY)
    rates = dict.fromkeys(GREEDY, greedy) | dict.fromkeys(SMALL, top * SMALL_SHARE)
    start = time.monotonic()
    await crowd.open_loop(rates, seconds=seconds)
    await crowd.aclose()
    stretch = start + _WARM_UP_SECONDS, start + seconds
    waits = {owner: tally.between(*stretch) for owner, tally in crowd.tallies.items()}
    goodput = sum(map(len, waits.values())) / (seconds - _WARM_UP_SECONDS)
    return Result(top, goodput, crowd.tallies, waits)


def _report(places: int, work: float, found: Result) -> None:
    refusals = [told for tally in found.tallies.values() for told in tally.refusals]
    failed = [failure for tally in found.tallies.values() for failure in tally.failed]
    told = [seconds for seconds in refusals if seconds is not None]
    print(f"{places} place{'s' * (places > 1)}, {work:g} s for each request")
    print(f"  top goodput        {found.top:7.2f} /s of {1 / work:g}")
    print(f"  under {OVERLOAD} x load    {found.goodput:7.2f} /s, {found.goodput / found.top:.1%}")
    without = len(refusals) - len(told)
    print(f"  refusals           {len(refusals):7d}, Retry-After {min(told)} to {max(told)} s, {without} without")
    print(f"  other failures     {len(failed):7d}{': ' + failed[0] if failed else ''}")
    for owner, waits in found.waits.items():
        tally = found.tallies[owner]
        figures = (
            f"waits p50 {statistics.median(waits):6.2f} s, longest {max(waits):6.2f} s" if waits else "nothing answered"
        )
        print(
            f"  {owner:<18} {len(waits):7d} answered of {tally.asked:5d}, {figures}, "
            f"{len(tally.refusals)} refused, {tally.given_up} given up",
            flush=True,
        )


if __name__ == "__main__":
    main()
