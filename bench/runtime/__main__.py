"""Measure gateway and runtime against a bare script with the same weights and settings, in the same run.

    python -m bench.runtime [--only latency --only start] [--rounds 3] [--model tiny|sd15|sdxl|flux] [--device cuda]
    python -m bench.runtime --model tiny-gguf

The script draws with what the runtime draws the model with: `tiny-gguf` with stable-diffusion.cpp, the others with
diffusers. It draws one image after the other, which is what a server with one lock around its pipeline reaches at best.
A model of real size has random weights, which take as long as trained ones; they are made once and kept below .cache,
and so is tiny-gguf.
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.runtime.measures import MEASURES, Bench
from bench.runtime.subjects import ROOT, TINY, DiffusersSubject, Subject, real_size, tiny_gguf

_CACHE = ROOT / ".cache" / "bench"


def main() -> None:
    options = _options()
    subject = _subject(options)
    with tempfile.TemporaryDirectory(prefix="heliograph-bench-") as folder:
        print(f"{subject.name} ({subject.drawn_by}), {subject.size}x{subject.size}, {subject.steps} steps")
        bench = Bench(subject, rounds=options.rounds, folder=Path(folder))
        for name in options.only or MEASURES:
            MEASURES[name](bench)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.runtime", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", choices=[*_subjects(_CACHE)], default=TINY.name, help="default tiny")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="of diffusers; default cpu")
    parser.add_argument("--only", choices=[*MEASURES], action="append", help="what to measure; everything by default")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each side (default 3)")
    parser.add_argument("--steps", type=int, help="inference steps; the model's own by default")
    parser.add_argument("--size", type=int, help="width and height in pixels; the model's own by default")
    parser.add_argument("--cache", type=Path, default=_CACHE, help="folder of the models that are made")
    options = parser.parse_args()
    if options.device and not isinstance(_subjects(options.cache)[options.model], DiffusersSubject):
        parser.error("argument --device: stable-diffusion.cpp runs on what it was built for; leave the option out")
    return options


def _subjects(cache: Path) -> dict[str, Subject]:
    """Return all models by name."""
    gguf = tiny_gguf(cache)
    return {TINY.name: TINY, **real_size(cache), gguf.name: gguf}


def _subject(options: argparse.Namespace) -> Subject:
    """Return what is to be drawn, with its files in place."""
    subject = _subjects(options.cache)[options.model]
    chosen = replace(subject, steps=options.steps or subject.steps, size=options.size or subject.size)
    if not isinstance(chosen, DiffusersSubject):
        _write_miniature(chosen.folder)
        return chosen
    chosen = replace(chosen, device=options.device or chosen.device)
    if chosen.name != TINY.name:
        from bench.runtime import weights  # noqa: PLC0415 - torch is loaded to make the weights alone

        weights.write(chosen)
    return chosen


def _write_miniature(folder: Path) -> None:
    """Write the miniature of FLUX.1 into its folder, unless it is there."""
    if folder.exists():
        return
    # Its one generator is the tests', whose folder is in no package: pytest is told of it in the same way.
    sys.path.append(str(ROOT / "tests"))
    from runtime.miniature_sdcpp import save_flux  # noqa: PLC0415 - it is found by the line above

    unfinished = folder.with_suffix(".unfinished")
    unfinished.mkdir(parents=True, exist_ok=True)
    save_flux(unfinished)
    unfinished.rename(folder)


if __name__ == "__main__":
    main()
