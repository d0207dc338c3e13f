"""The measurements; they share one control plane, and each first makes what it needs and does not find."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psutil
from bench.operator.memory import Usage, resident
from bench.operator.rig import CLIENTS, PATIENCE_SECONDS, RECONCILES, Rig

from heliograph_api import naming
from heliograph_operator.resources import DEPLOYMENTS, IMAGE_MODELS

_MIB = 2**20
_REQUESTS = "heliograph_operator_api_requests_total"
_POLL_SECONDS = 0.2
_COUNT_SECONDS = 1.0
"""Between two counts of all children, which are a load on the API server themselves."""
_SAMPLES = 20
"""How often the memory is read in the course of the cycles."""
_WARM_UP = 0.25
"""Part of the cycles in which memory grows to what work takes; it is left out of the slope."""


@dataclass
class Bench:
    """What is measured, and how often.

    Attributes:
        rig: The control plane and the operator.
        models: ImageModels that are applied at once and stay.
        edits: Edits at rest, and children that are deleted at rest.
        cycles: ImageModels that are made, changed and deleted.
        names: The ImageModels that are there.
    """

    rig: Rig
    models: int
    edits: int
    cycles: int
    names: list[str] = field(default_factory=list)

    def fill(self) -> None:
        """Create the ImageModels, unless they are there, and wait for all of their children."""
        if self.names:
            return
        self.names = [f"model-{number:05d}" for number in range(self.models)]
        planned = self.rig.planned(self.models)
        self.rig.create_all(self.names)
        wait(lambda: self.rig.children() == planned, what="all children", pause=_COUNT_SECONDS)


def wait(check: Callable[[], bool], *, what: str, pause: float = _POLL_SECONDS) -> None:
    """Call `check` until it answers true, with a pause in seconds after each time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not check():
        if time.monotonic() > deadline:
            raise SystemExit(f"no {what} after {PATIENCE_SECONDS:.0f} s")
        time.sleep(pause)


def apply(bench: Bench) -> None:
    """Print the time until many ImageModels that are created at once have all of their children."""
    rig, mark = bench.rig, bench.rig.mark()
    with Usage(rig.operator.process.pid) as usage:
        start = time.monotonic()
        bench.fill()
        seconds, processor = time.monotonic() - start, usage.processor
        rig.wait_for_rest()
    _title(f"{bench.models} ImageModels created at once")
    _row("until all children are there", f"{seconds:.1f} s", goal="60 s", flux="500 in 124 s, 16 cores")
    _row("the operator's processor time until then", f"{processor:.1f} s")
    _row("the operator's writes until it rests", f"{rig.writes_since(mark) / bench.models:.1f} for each")
    _row("its requests until it rests, reads included", f"{rig.metric(_REQUESTS) / bench.models:.1f} for each")
    _row("its reconciliations until it rests", f"{rig.metric(RECONCILES) / bench.models:.1f} of each")
    _row("the operator's peak memory", f"{usage.peak / _MIB:.0f} MiB", goal="200 MiB", flux="122 MiB")


def edit(bench: Bench) -> None:
    """Print the time from an edit of a spec to the patched Deployment, and from a deleted child to the new one."""
    rig = bench.rig
    bench.fill()
    rig.wait_for_rest()
    names = [bench.names[number * len(bench.names) // bench.edits] for number in range(bench.edits)]
    _title(f"{bench.edits} changes, one at a time, with {bench.models} ImageModels at rest")
    patched = [_seconds_to_patch(rig, name, step=21 + number) for number, name in enumerate(names)]
    _row("from an edit to the patched Deployment", _distribution(patched), goal="p95 1 s")
    restored = [_seconds_to_restore(rig, name) for name in names]
    _row("from a deleted Deployment to the new one", _distribution(restored), goal="2 s")


def restart(bench: Bench) -> None:
    """Print what a restart with nothing changed takes."""
    rig = bench.rig
    bench.fill()
    rig.wait_for_rest()
    rig.stop_operator()
    mark, start = rig.mark(), time.monotonic()
    with Usage(rig.start_operator().process.pid) as usage:
        wait(lambda: rig.metric(RECONCILES, outcome="done") >= bench.models, what="reconciliation of every ImageModel")
        wait(lambda: rig.metric("heliograph_operator_queue_depth") == 0, what="empty queue")
        seconds, processor = time.monotonic() - start, usage.processor
        rig.wait_for_rest()
    _title(f"restart with {bench.models} ImageModels and nothing changed")
    _row("from the process's start until all are looked at", f"{seconds:.1f} s", goal="30 s")
    _row("the operator's processor time until then", f"{processor:.1f} s")
    _row("the operator's writes until it rests", str(rig.writes_since(mark)), goal="0")
    _row("the operator's peak memory", f"{usage.peak / _MIB:.0f} MiB", goal="200 MiB", flux="122 MiB")


def cycles(bench: Bench) -> None:
    """Print what stays behind of ImageModels that are made, changed and deleted: memory and objects."""
    rig = bench.rig
    rig.wait_for_rest()
    before, size = rig.children(), max(1, bench.cycles // _SAMPLES)
    process, points, start = psutil.Process(rig.operator.process.pid), list[tuple[int, float]](), time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        for first in range(0, bench.cycles, size):
            numbers = range(first, min(first + size, bench.cycles))
            list(pool.map(lambda number: _cycle(rig, f"cycle-{number:06d}"), numbers))
            points.append((numbers.stop, resident(process) / _MIB))
            print(f"  {numbers.stop} of {bench.cycles} cycles: {points[-1][1]:.1f} MiB", file=sys.stderr, flush=True)
    seconds = time.monotonic() - start
    rig.wait_for_rest()
    _title(f"{bench.cycles} ImageModels made, changed and deleted, {CLIENTS} at a time")
    _row("cycles in a second", f"{bench.cycles / seconds:.1f}")
    _row("the operator's memory at the beginning and at the end", f"{points[0][1]:.1f}, {points[-1][1]:.1f} MiB")
    _row("growth of memory with each 1,000", f"{_slope(points, bench.cycles) * 1000:+.2f} MiB", goal="1 MiB")
    wait(lambda: rig.children() <= before, what="end of the garbage collection")
    _row("children left behind", str((rig.children() - before).total()), goal="0")


MEASURES: Mapping[str, Callable[[Bench], None]] = {"apply": apply, "edit": edit, "restart": restart, "cycles": cycles}


def _seconds_to_patch(rig: Rig, name: str, **fields: Any) -> float:
    """Edit an ImageModel and return the seconds until its Deployment has another spec."""
    before = rig.find(DEPLOYMENTS, naming.child_name(name))
    assert before is not None
    with rig.watching(before) as events:
        start = time.monotonic()
        rig.edit(name, **fields)
        for _, deployment in events:
            if deployment["metadata"]["generation"] > before["metadata"]["generation"]:
                return time.monotonic() - start
    raise SystemExit(f"the Deployment of {name} was not patched")


def _seconds_to_restore(rig: Rig, name: str) -> float:
    """Delete the Deployment of an ImageModel and return the seconds until there is another one."""
    before = rig.find(DEPLOYMENTS, naming.child_name(name))
    assert before is not None
    with rig.watching(before) as events:
        start = time.monotonic()
        rig.delete(DEPLOYMENTS, before["metadata"]["name"])
        for kind, _ in events:
            if kind == "ADDED":
                return time.monotonic() - start
    raise SystemExit(f"the Deployment of {name} was not restored")


def _cycle(rig: Rig, name: str) -> None:
    """Create an ImageModel, change it once it has a Deployment, and delete it once that is patched."""
    child = naming.child_name(name)
    rig.create(name)
    wait(lambda: rig.find(DEPLOYMENTS, child) is not None, what=f"Deployment of {name}")
    _seconds_to_patch(rig, name, step=21)
    rig.delete(IMAGE_MODELS, name)
    wait(lambda: rig.find(DEPLOYMENTS, child) is None, what=f"end of the Deployment of {name}")


def _slope(points: list[tuple[int, float]], cycles: int) -> float:
    """Return by how much the memory grows with each cycle, once it has grown to what work takes."""
    kept = [point for point in points if point[0] > _WARM_UP * cycles]
    return statistics.linear_regression(*zip(*kept, strict=True)).slope


def _distribution(seconds: Sequence[float]) -> str:
    median, high = statistics.median(seconds), statistics.quantiles(seconds, n=20, method="inclusive")[-1]
    return f"p50 {median * 1000:.0f}, p95 {high * 1000:.0f}, max {max(seconds) * 1000:.0f} ms"


def _title(text: str) -> None:
    print(f"\n{text}\n  {'':52} {'measured':>32}  {'goal':>8}  {'Flux':>24}")


def _row(name: str, measured: str, *, goal: str = "", flux: str = "") -> None:
    print(f"  {name:52} {measured:>32}  {goal:>8}  {flux:>24}".rstrip())
