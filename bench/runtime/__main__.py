"""Measure gateway and runtime against a bare diffusers script with the same weights and settings, in the same run.

    python -m bench.runtime [--only latency --only start] [--rounds 3] [--model tiny|sd15|sdxl|flux] [--device cuda]

The script draws one image after the other, which is what a server with one lock around its pipeline reaches at best. A
model of real size has random weights, which take as long as trained ones; they are made once and kept below .cache.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.runtime.measures import MEASURES, Bench
from bench.runtime.subjects import ROOT, TINY, Subject, real_size

_CACHE = ROOT / ".cache" / "bench"


def main() -> None:
    options = _options()
    subject = _subject(options)
    with tempfile.TemporaryDirectory(prefix="heliograph-bench-") as folder:
        print(
            f"{subject.name} ({subject.pipeline}) on {subject.device} as {subject.loaded_dtype}, "
            f"{subject.size}x{subject.size}, {subject.steps} steps"
        )
        bench = Bench(subject, rounds=options.rounds, folder=Path(folder))
        for name in options.only or MEASURES:
            MEASURES[name](bench)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.runtime", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", choices=["tiny", *real_size(_CACHE)], default="tiny", help="default tiny")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default cpu")
    parser.add_argument("--only", choices=[*MEASURES], action="append", help="what to measure; everything by default")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each side (default 3)")
    parser.add_argument("--steps", type=int, help="inference steps; the model's own by default")
    parser.add_argument("--size", type=int, help="width and height in pixels; the model's own by default")
    parser.add_argument("--cache", type=Path, default=_CACHE, help="folder of the models of real size")
    return parser.parse_args()


def _subject(options: argparse.Namespace) -> Subject:
    """Return what is to be drawn, with the files of a model of real size in place."""
    subject = {TINY.name: TINY, **real_size(options.cache)}[options.model]
    chosen = replace(
        subject,
        device=options.device,
        steps=options.steps or subject.steps,
        size=options.size or subject.size,
    )
    if chosen.name != TINY.name:
        from bench.runtime import weights  # noqa: PLC0415 - torch is loaded to make the weights alone

        weights.write(chosen)
    return chosen


if __name__ == "__main__":
    main()
