"""The conditions of an ImageModel: how each aspect of its state is judged and worded.

A verdict is a status, a reason for machines and a message for people that says what to do about it.
"""

import re
from typing import NamedTuple

from heliograph_api.manifest import ImageModel
from heliograph_api.status import ConditionStatus
from heliograph_operator.observation import Observation, Rollout

_POD_NAME = re.compile(r'pods "[^"]*"')


class Verdict(NamedTuple):
    """One condition, but for its type and its times."""

    status: ConditionStatus
    reason: str
    message: str


def judge(seen: Observation) -> dict[str, Verdict]:
    """Return the verdict on each aspect that applies, by condition type."""
    verdicts = {"Accepted": _accepted(seen), "Ready": _ready(seen)}
    if seen.model is None or not seen.model.spec.alias:
        verdicts["Progressing"] = _progressing(seen)
    if seen.model is not None and not seen.model.spec.alias:
        verdicts["WeightsCached"] = _weights_cached(seen.model)
    if seen.conflicts:
        verdicts["NameConflict"] = _name_conflict(seen)
    return verdicts


def _accepted(seen: Observation) -> Verdict:
    if seen.problem is not None:
        return Verdict("False", "InvalidSpec", str(seen.problem))
    engine = seen.plan.engine if seen.plan else None
    if engine is None:
        return Verdict("True", "Alias", "The spec is valid; it makes a route to another model.")
    return Verdict("True", "Valid", f"The spec is valid; the {engine.name} engine serves it.")


def _weights_cached(model: ImageModel) -> Verdict:
    cache = model.spec.serving.cache
    if cache is not None and cache.existing_claim:
        claim = cache.existing_claim
        return Verdict("True", "ExistingClaim", f"The weights are read from the PersistentVolumeClaim {claim}.")
    what = model.spec.model or "the weights"
    return Verdict(
        "False",
        "WeightsMissing",
        f"There is no volume that holds {what}: put the weights into a PersistentVolumeClaim and name it in "
        "spec.serving.cache.existingClaim.",
    )


def _ready(seen: Observation) -> Verdict:
    if seen.model is not None and seen.model.spec.alias:
        return _alias_ready(seen, seen.model.spec.alias)
    if seen.model is not None and seen.model.spec.disabled:
        return Verdict("False", "Disabled", "spec.disabled is true: there are no replicas, and requests are refused.")
    if seen.rollout is None:
        return _absent(seen)
    rollout = seen.rollout
    if rollout.wanted == 0:
        return Verdict("False", "ScaledToZero", "No replicas are wanted: scale it up with spec.serving.replicas.")
    if rollout.ready:
        return Verdict("True", "Serving", f"{rollout.ready} of {rollout.wanted} replicas answer requests.")
    return _stuck(seen, rollout) or Verdict(
        "False", "Starting", f"0 of {rollout.wanted} replicas answer requests so far."
    )


def _progressing(seen: Observation) -> Verdict:
    if seen.rollout is None:
        return _absent(seen)
    rollout = seen.rollout
    if stuck := _stuck(seen, rollout):
        return stuck
    if rollout.is_complete:
        return Verdict("False", "Complete", "Every replica is up to date.")
    return Verdict(
        "True",
        "RollingOut",
        f"{rollout.updated} of {rollout.wanted} replicas are up to date, {rollout.available} available.",
    )


def _alias_ready(seen: Observation, target: str) -> Verdict:
    if seen.target_exists:
        return Verdict("True", "TargetFound", f"Requests go to {target}.")
    return Verdict("False", "TargetMissing", f"There is no model {target}: create it, or correct spec.alias.")


def _stuck(seen: Observation, rollout: Rollout) -> Verdict | None:
    """Return why things do not go on, if they do not."""
    if seen.problem is not None:
        return Verdict("False", "InvalidSpec", "The last valid spec stays in force until spec is valid again.")
    if seen.refusals:
        return Verdict("False", "ApplyFailed", " ".join(seen.refusals))
    if seen.conflicts:
        return _name_conflict(seen)._replace(status="False")
    if rollout.failure is not None:
        reason, message = rollout.failure
        # Each attempt names another pod; a status that changes with every attempt tells nothing more.
        return Verdict("False", reason, _POD_NAME.sub("pods", message))
    return None


def _absent(seen: Observation) -> Verdict:
    """Return why there is no Deployment."""
    if seen.problem is not None:
        return Verdict("False", "InvalidSpec", "Nothing runs until spec is valid; see the condition Accepted.")
    if seen.refusals:
        return Verdict("False", "ApplyFailed", " ".join(seen.refusals))
    if seen.conflicts:
        return _name_conflict(seen)._replace(status="False")
    if seen.awaits_removal:
        message = "The objects of a deleted ImageModel of the same name are still being removed."
        return Verdict("False", "AwaitingRemoval", message)
    return Verdict("False", "Starting", "The Deployment is being made.")


def _name_conflict(seen: Observation) -> Verdict:
    objects = ", ".join(seen.conflicts)
    return Verdict("True", "NameTaken", f"Somebody else's objects are in the way: delete or rename {objects}.")
