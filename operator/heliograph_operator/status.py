"""The status of an ImageModel, from what a reconciliation saw; pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from heliograph_api import naming
from heliograph_api.status import Condition, EngineStatus, ImageModelStatus, WeightsStatus
from heliograph_operator.conditions import Verdict, judge
from heliograph_operator.fetching import readable_size
from heliograph_operator.observation import Observation
from heliograph_operator.plan.service import service_url
from heliograph_operator.resources import Object

_MAX_WARNINGS = 64
_MAX_MESSAGE = 4096
_LASTING = ("WeightsCached",)
"""Conditions that an invalid spec says nothing about; they stay as they were."""
_FROM_SPEC = ("engine", "model", "url", "weights")
"""Fields that an invalid spec says nothing about; they stay as they were, as the children do."""


def plan_status(seen: Observation, *, now: datetime) -> dict[str, Any]:
    """Return every field of the status that the operator writes, None where it has nothing to say.

    Args:
        seen: What a reconciliation saw.
        now: The time at which conditions that change do so, in UTC.
    """
    metadata = seen.obj["metadata"]
    old: Object = seen.obj.get("status") or {}
    rollout = seen.rollout
    labels = naming.selector_labels(metadata["name"])
    status = ImageModelStatus(
        observed_generation=metadata["generation"],
        conditions=_conditions(judge(seen), old=old, seen=seen, now=now),
        replicas=rollout.replicas if rollout else 0,
        ready_replicas=rollout.ready if rollout else 0,
        selector=",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        warnings=seen.warnings[:_MAX_WARNINGS] or None,
    )
    fields = status.model_dump(by_alias=True, mode="json", exclude={"weights", "engine", "model", "url"})
    fields["conditions"] = [{k: v for k, v in item.items() if v is not None} for item in fields["conditions"]]
    return {**fields, **(_from_spec(seen) if seen.problem is None else {key: old.get(key) for key in _FROM_SPEC})}


def status_changes(status: Mapping[str, Any], observed: Object) -> dict[str, Any]:
    """Return the fields of `status` that the observed ImageModel's status lacks or has otherwise."""
    old = observed.get("status") or {}
    return {key: value for key, value in status.items() if old.get(key) != value}


def _from_spec(seen: Observation) -> dict[str, Any]:
    model, engine = seen.model, seen.plan.engine if seen.plan else None
    return {
        "engine": engine and EngineStatus(name=engine.name, reason=engine.reason).model_dump(mode="json"),
        "model": model and model.model_id,
        "url": service_url(model=model) if model and engine else None,
        "weights": _weights(seen),
    }


def _weights(seen: Observation) -> Object | None:
    """Return what is known of the weights; None for what the old status says and is so no more."""
    if seen.plan is None or seen.plan.weights is None:
        return None
    fetched, verdict = seen.plan.fetched, judge(seen)["WeightsCached"]
    summary, size, percent = verdict.reason, None, None
    if fetched is not None and fetched.bytes is not None:
        summary, size = readable_size(fetched.bytes), fetched.bytes
    elif seen.progress is not None:
        summary, size, percent = str(seen.progress), seen.progress.total, seen.progress.percent
    revisions = fetched.revisions if fetched else {}
    weights = WeightsStatus(
        summary=summary,
        bytes=size,
        percent=percent,
        folder=fetched.folder if fetched else None,
        revision=revisions.get("spec.parameters.model") or next(iter(revisions.values()), None),
        sha256=fetched.sha256 if fetched else None,
    )
    found = weights.model_dump(by_alias=True, mode="json", exclude_none=True)
    old = (seen.obj.get("status") or {}).get("weights") or {}
    return {**dict.fromkeys(old.keys() - found.keys()), **found}


def _conditions(verdicts: Mapping[str, Verdict], *, old: Object, seen: Observation, now: datetime) -> list[Condition]:
    before = {condition["type"]: condition for condition in old.get("conditions") or ()}
    conditions = [
        Condition(
            type=kind,
            status=verdict.status,
            observed_generation=seen.obj["metadata"]["generation"],
            last_transition_time=_transition(before.get(kind), verdict, now),
            reason=verdict.reason,
            message=verdict.message[:_MAX_MESSAGE],
        )
        for kind, verdict in verdicts.items()
    ]
    if seen.problem is not None:
        conditions += [Condition.model_validate(before[kind]) for kind in _LASTING if kind in before]
    return conditions


def _transition(before: Object | None, verdict: Verdict, now: datetime) -> str:
    if before is not None and before["status"] == verdict.status:
        return str(before["lastTransitionTime"])
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
