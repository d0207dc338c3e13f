"""Writes conditions.md, what to do about each reason of a condition, from the operator's own table.

Run `make generate` after a change of `heliograph_operator.diagnosis.reasons`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from heliograph_operator.diagnosis import reasons
from tables import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TARGET = Path(__file__).with_name("conditions.md")
INTRODUCTION = """\
# Conditions

<!-- Written by docs/conditions.py from heliograph_operator/diagnosis/reasons.py; edit that instead. -->

`kubectl describe imagemodel NAME` shows the conditions of a model, each with a reason and a message that says what is
wrong and what to do, and the Events that tell of each change of a status or a reason.

| condition | tells |
|---|---|
| Accepted | whether the spec is valid; while it is not, the last valid one stays in force |
| WeightsCached | whether the weights are where the pods find them |
| Ready | whether at least one replica answers requests, and else why not |
| Progressing | whether replicas are being made or replaced; False with a trouble's reason where that does not go on |
| NameConflict | only there when somebody else's objects are in the way |
| RolloutBlocked | only there when new pods find no room beside the old ones, which serve on |
| ScalingConflict | only there when two autoscalers set the number of replicas, or one sets that of the Deployment |

While old replicas serve, Ready stays True, and Progressing tells what ails the new ones. Of several troubles the worst
is told, of the newest pods alone; the order of the tables is that of severity. [operations.md](operations.md)
has a runbook for each condition.

Names in the commands are those of the model `tiny` in the namespace `heliograph`:

```sh
kubectl describe imagemodel -n heliograph tiny
```
"""
MODELS_PODS = "\"$(kubectl get imagemodel -n heliograph tiny -o jsonpath='{.status.selector}')\""
"""What selects the pods of the one model."""
SECTIONS: Mapping[str, tuple[str, str, Mapping[str, reasons.Cause]]] = {
    "Nothing is made of the model": (
        "The message names the objects.",
        "kubectl get deployments,services,configmaps,networkpolicies -n heliograph -L heliograph.dev/model",
        reasons.MODEL_CAUSES,
    ),
    "Weights are not fetched": (
        "The message is the fetcher's own: it names the field, the problem and the remedy.",
        """\
kubectl get jobs,persistentvolumeclaims -n heliograph -L heliograph.dev/model
kubectl logs -n heliograph -l app.kubernetes.io/component=fetcher --prefix --tail=50""",
        reasons.FETCH_CAUSES,
    ),
    "The model cannot be loaded": (
        "The message is the runtime's own: it names the field, the problem and the remedy.",
        f"kubectl logs -n heliograph -l {MODELS_PODS} --prefix --tail=50",
        reasons.LOAD_CAUSES,
    ),
    "A container does not run": (
        "The message is that of the container's state; `--previous` is for one that was started again.",
        f"""\
kubectl describe pods -n heliograph -l {MODELS_PODS}
kubectl logs -n heliograph -l {MODELS_PODS} --prefix --tail=50 --previous""",
        reasons.CONTAINER_CAUSES,
    ),
    "Pods cannot be made, placed or kept": (
        "The message is the scheduler's, the API server's or the node's.",
        "kubectl get events -n heliograph --sort-by=.lastTimestamp\nkubectl describe nodes",
        reasons.PLACEMENT_CAUSES,
    ),
}
"""For each table of troubles: what its messages are, how to look further, and the reasons."""


WARNINGS = """\
`status.warnings` says what of a spec is not done as it is written; the model is served all the same, but for
OptionRefused. `kubectl describe` shows them, `heliograph serve` and `heliograph plan` print them, and this lists them
alone:

```sh
kubectl get imagemodel -n heliograph tiny \\
  -o jsonpath='{range .status.warnings[*]}{.reason}{"\\t"}{.message}{"\\n"}{end}'
```
"""


def reference() -> str:
    """Return the text of conditions.md."""
    return "\n".join([INTRODUCTION, *_states(), *_troubles(), *_warnings()])


def _states() -> Iterator[str]:
    yield f"## States that ask for nothing\n\n{table(('reason', 'meaning'), reasons.STATES.items())}\n"


def _troubles() -> Iterator[str]:
    for title, (note, look, causes) in SECTIONS.items():
        yield f"## {title}\n\n{note} To look further:\n\n```sh\n{look}\n```\n"
        yield _causes(causes)


def _warnings() -> Iterator[str]:
    yield f"## Warnings\n\n{WARNINGS}"
    yield _causes(reasons.WARNINGS)


def _causes(causes: Mapping[str, reasons.Cause]) -> str:
    rows = ((name, it.meaning, f"{it.remedy[0].upper()}{it.remedy[1:]}.") for name, it in causes.items())
    return f"{table(('reason', 'meaning', 'what to do'), rows)}\n"


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
