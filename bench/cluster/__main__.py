"""Measure how long one waits for a model on a cluster: after `kubectl apply`, and after a request that wakes it.

    python -m bench.cluster [--manifest examples/tiny.yaml] [--rounds 3] [--namespace heliograph]

The cluster is that of KUBECONFIG, else the development cluster; Heliograph and what the manifest needs are installed
(`make cluster`, docs/kubernetes.md). The manifest is applied under a name of its own, with scaling to zero and with
small requests for CPU, so that it finds room beside other models. What is told is what the API server shows, which a
kubelet writes up to a second late.
"""

import argparse
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.cluster.rounds import Round, Times

_ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    # kubectl and the caches are the tests', whose folder is in no package: pytest is told of it in the same way.
    sys.path.append(str(_ROOT / "tests"))
    from bench.cluster.gateway import Kubectl  # noqa: PLC0415 - it is found by the line above
    from bench.cluster.rounds import NAME, Bench, manifest_of  # noqa: PLC0415 - as above
    from bench.cluster.stages import Observer  # noqa: PLC0415 - as above

    options = _options()
    kubectl = Kubectl.find(options.kubeconfig, options.namespace)
    observer = Observer(options.kubeconfig, namespace=options.namespace, name=NAME)
    rounds: list[Round] = []
    with kubectl.gateway(options.release) as gateway:
        bench = Bench(kubectl, gateway, observer, manifest_of(options.manifest))
        for number in range(options.rounds):
            rounds.append(bench.round())
            print(f"round {number + 1} of {options.rounds}: {_summary(rounds[-1])}", flush=True)
    _print("from kubectl apply to Ready", [it.applied for it in rounds])
    _print("from a request for a sleeping model to its picture", [it.woken for it in rounds])
    print(f"one more picture: {statistics.median(it.warm for it in rounds):.2f} s")


def _summary(found: "Round") -> str:
    applied, woken = sum(found.applied.values()), sum(found.woken.values())
    return f"Ready after {applied:.2f} s, woken and drawn in {woken:.2f} s, one more picture in {found.warm:.2f} s"


def _print(title: str, rounds: Sequence["Times"]) -> None:
    """Print the median of each part, and of the whole."""
    print(f"{title}: {statistics.median(sum(times.values()) for times in rounds):.2f} s")
    for part in rounds[0]:
        print(f"  {part:16} {statistics.median(times[part] for times in rounds):6.2f} s")


def _options() -> argparse.Namespace:
    from cluster.go_programs import cache_folder  # noqa: PLC0415 - main has put its folder on the path

    development = cache_folder(os.environ) / "devcluster" / "kubeconfig"
    parser = argparse.ArgumentParser(prog="python -m bench.cluster", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--manifest", type=Path, default=_ROOT / "examples" / "tiny.yaml", help="the model")
    parser.add_argument("--rounds", type=int, default=3, help="how often; the medians are told (default 3)")
    parser.add_argument("--namespace", default="heliograph", help="where Heliograph is installed (default heliograph)")
    parser.add_argument("--release", default="heliograph", help="name of the Helm release (default heliograph)")
    parser.add_argument(
        "--kubeconfig",
        type=Path,
        default=Path(os.environ.get("KUBECONFIG") or development),
        help="KUBECONFIG, or the development cluster's, unless given",
    )
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"argument --rounds: {options.rounds} tells nothing; give at least 1")
    if not options.kubeconfig.is_file():
        parser.error(f"argument --kubeconfig: there is no {options.kubeconfig}; `make cluster` makes a cluster")
    return options


if __name__ == "__main__":
    main()
