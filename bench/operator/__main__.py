"""Measure the operator against a real control plane: many ImageModels, edits, restarts, and what stays behind.

    python -m bench.operator [--models 500] [--cycles 200] [--only apply --only cycles]

etcd, API server, controller manager and scheduler run beside the operator and share the machine with it, so that what
is measured is what a user sees of a small cluster. There are no nodes: pods are said to be ready as soon as they are
there. Every line has the goal beside the figure, and Flux's own figure where it publishes one.
"""

import argparse
import sys
import tempfile
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    # The control plane is the tests', whose folder is in no package: pytest is told of it in the same way.
    sys.path.append(str(_ROOT / "tests"))
    from bench.operator.measures import MEASURES, Bench  # noqa: PLC0415 - it is found by the line above
    from bench.operator.rig import Rig  # noqa: PLC0415 - as above

    options = _options([*MEASURES])
    with tempfile.TemporaryDirectory(prefix="heliograph-bench-") as folder, Rig(Path(folder)) as rig:
        bench = Bench(rig, models=options.models, edits=options.edits, cycles=options.cycles)
        for name in options.only or MEASURES:
            MEASURES[name](bench)


def _options(measures: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.operator", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", type=int, default=500, help="ImageModels that are applied at once (default 500)")
    parser.add_argument("--edits", type=int, default=50, help="edits, and children deleted, at rest (default 50)")
    parser.add_argument("--cycles", type=int, default=200, help="ImageModels made, changed and deleted (default 200)")
    parser.add_argument("--only", choices=measures, action="append", help="what to measure; everything by default")
    options = parser.parse_args()
    for name, least in (("models", 1), ("edits", 2), ("cycles", 4)):
        if getattr(options, name) < least:
            parser.error(f"argument --{name}: {getattr(options, name)} tells nothing; give at least {least}")
    return options


if __name__ == "__main__":
    main()
