"""The measurements. Each alternates between the sides, since the speed of a shared machine drifts."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.runtime.memory import PeakMemory
from bench.runtime.sides import Bare, Runtime, Serve, ask
from bench.runtime.subjects import Subject

BARE, RUNTIME, GATEWAY = "bare script", "runtime", "gateway and runtime"
CLIENTS = 8
_FEW_STEPS = 2
"""What is added to a picture does not depend on its steps: it is seen best where drawing, and its noise, is short."""
_PICTURES = 8 * CLIENTS
"""Enough that the first of them, which is drawn alone, is not most of what is measured."""
_FEW_PICTURES = 8
_BATCH = 8
"""What `max_batch` is unless the environment says otherwise."""


@dataclass(frozen=True)
class Bench:
    """What is measured, and how often.

    Attributes:
        subject: What is drawn.
        rounds: Rounds of each side.
        folder: Where the processes may write.
    """

    subject: Subject
    rounds: int
    folder: Path


def latency(bench: Bench) -> None:
    """Print what one request takes at a time, with the steps that the model wants and with few."""
    subject = bench.subject
    with Bare(subject, bench.folder) as bare, Serve(subject, bench.folder) as serve:
        serve.wait_ready()
        _latency(bench, bare, serve, steps=subject.steps, requests=4 * bench.rounds)
        if subject.steps > _FEW_STEPS:
            _latency(bench, bare, serve, steps=_FEW_STEPS, requests=16 * bench.rounds)


def throughput(bench: Bench) -> None:
    """Print how many pictures are drawn in a second: one by one, in batches, and for clients of the gateway."""
    subject = bench.subject
    with Bare(subject, bench.folder) as bare, Serve(subject, bench.folder) as serve:
        serve.wait_ready()
        in_batches = f"{BARE}, {_BATCH} in a call"
        clients = f"{GATEWAY}, {CLIENTS} clients"
        found = _alternate(
            {
                BARE: lambda: bare.draw(_FEW_PICTURES, steps=subject.steps) / _FEW_PICTURES,
                in_batches: lambda: (
                    bare.draw(_FEW_PICTURES // _BATCH, steps=subject.steps, pictures=_BATCH) / _FEW_PICTURES
                ),
                clients: lambda: _ask_together(serve, subject, _PICTURES) / _PICTURES,
            },
            rounds=bench.rounds,
        )
    print(f"\nthroughput ({bench.rounds} rounds)")
    one_by_one = statistics.median(found[BARE])
    for name, seconds in found.items():
        rates = [1 / each for each in seconds]
        ratio = one_by_one / statistics.median(seconds)
        print(f"  {name:36} {statistics.median(rates):7.2f} ± {_spread(rates):.2f} images/s   {ratio:5.2f} times")


def cold_start(bench: Bench) -> None:
    """Print the time from the start of a process to its first picture; the files are in the page cache."""

    def bare() -> float:
        with Bare(bench.subject, bench.folder) as side:
            side.draw(1, steps=bench.subject.steps)
            return time.perf_counter() - side.started

    def runtime() -> float:
        with Runtime(bench.subject, bench.folder) as side:
            side.wait_ready()
            ask(side.port, bench.subject)
            return time.perf_counter() - side.started

    def serve() -> float:
        with Serve(bench.subject, bench.folder) as side:
            side.wait_ready()
            ask(side.port, bench.subject)
            return time.perf_counter() - side.started

    found = _alternate({BARE: bare, RUNTIME: runtime, GATEWAY: serve}, rounds=bench.rounds)
    print(f"\ncold start to the first picture ({bench.rounds} rounds)")
    first = statistics.median(found[BARE])
    for name, seconds in found.items():
        median = statistics.median(seconds)
        print(f"  {name:36} {median:7.2f} ± {_spread(seconds):.2f} s   {(median / first - 1) * 100:+6.1f} %")


def memory(bench: Bench) -> None:
    """Print the most main memory that each side takes, alone on the machine."""
    subject = bench.subject
    print("\npeak memory")
    with Bare(subject, bench.folder) as bare, PeakMemory(bare.process) as watched:
        bare.draw(_FEW_PICTURES, steps=subject.steps)
    _print_memory(BARE, watched)
    with Bare(subject, bench.folder) as bare, PeakMemory(bare.process) as watched:
        bare.draw(2, steps=subject.steps, pictures=_BATCH)
    _print_memory(f"{BARE}, {_BATCH} in a call", watched)
    with Serve(subject, bench.folder) as serve:
        serve.wait_ready()
        with PeakMemory(serve.process) as watched:
            for _ in range(_FEW_PICTURES):
                ask(serve.port, subject)
        _print_memory(f"{GATEWAY}, one client", watched)
        with PeakMemory(serve.process) as watched:
            _ask_together(serve, subject, _PICTURES)
        _print_memory(f"{GATEWAY}, {CLIENTS} clients", watched)


MEASURES: Mapping[str, Callable[[Bench], None]] = {
    "latency": latency,
    "throughput": throughput,
    "start": cold_start,
    "memory": memory,
}


def _latency(bench: Bench, bare: Bare, serve: Serve, *, steps: int, requests: int) -> None:
    subject, runtime_port = bench.subject, serve.runtime_port
    found = _alternate(
        {
            BARE: lambda: bare.draw(1, steps=steps),
            RUNTIME: lambda: ask(runtime_port, subject, steps=steps),
            GATEWAY: lambda: ask(serve.port, subject, steps=steps),
            f"{GATEWAY}, with a link": lambda: ask(serve.port, subject, steps=steps, form="both"),
        },
        rounds=requests,
    )
    print(f"\nlatency, one client, {steps} steps ({requests} requests each)")
    first = statistics.median(found[BARE])
    for name, seconds in found.items():
        median = statistics.median(seconds)
        line = f"  {name:36} {median * 1000:8.1f} ± {_spread(seconds) * 1000:.1f} ms"
        if name != BARE:
            line += f"   {(median - first) * 1000:+7.1f} ms {(median / first - 1) * 100:+6.1f} %"
        print(line)


def _alternate(works: Mapping[str, Callable[[], float]], *, rounds: int) -> dict[str, list[float]]:
    """Return the seconds that each work gives in each round, in which the works take turns at being first.

    What comes before the first round warms up and is not counted.
    """
    found: dict[str, list[float]] = {name: [] for name in works}
    order = list(works)
    for number in range(-1, rounds):
        for name in order:
            seconds = works[name]()
            if number >= 0:
                found[name].append(seconds)
        order = [*order[1:], order[0]]
    return found


def _ask_together(serve: Serve, subject: Subject, pictures: int) -> float:
    """Return the seconds in which several clients, each with one request at a time, got so many pictures."""
    start = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda seed: ask(serve.port, subject, seed=seed), range(pictures)))
    return time.perf_counter() - start


def _print_memory(name: str, watched: PeakMemory) -> None:
    parts = ", ".join(f"{part} {size / 2**20:.0f}" for part, size in watched.parts.items())
    print(f"  {name:36} {watched.peak / 2**20:7.0f} MiB   ({parts})")


def _spread(values: Sequence[float]) -> float:
    """Return half of the range that the middle half of the values lie in."""
    if len(values) < 2:
        return 0.0
    first, _, third = statistics.quantiles(values, n=4)
    return (third - first) / 2
