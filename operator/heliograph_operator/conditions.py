"""The conditions of an ImageModel: how each aspect of its state is judged and worded.

A verdict is a status, a reason for machines and a message for people that says what to do about it. Every reason stands
in `diagnosis.reasons`, with what it means.
"""

from collections.abc import Sequence
from typing import NamedTuple

from heliograph_api.status import ConditionStatus
from heliograph_operator.diagnosis.trouble import Trouble, worst
from heliograph_operator.fetching import readable_size
from heliograph_operator.observation import Observation
from heliograph_operator.plan.deployment import wanted_replicas
from heliograph_operator.rollouts import is_blocked, makes_way


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
    elif seen.leftovers:
        verdicts["Progressing"] = _left(seen.leftovers)
    if seen.plan is not None and seen.model is not None and not seen.model.spec.alias:
        verdicts["WeightsCached"] = _weights_cached(seen)
    if seen.conflicts:
        verdicts["NameConflict"] = _name_conflict(seen)
    if seen.trouble is not None and is_blocked(seen.rollout, seen.trouble):
        verdicts["RolloutBlocked"] = _rollout_blocked(seen.trouble, makes_room=seen.makes_room)
    if seen.rivals or seen.misaimed:
        verdicts["ScalingConflict"] = _scaling_conflict(seen)
    return verdicts


def _accepted(seen: Observation) -> Verdict:
    if seen.problem is not None:
        return Verdict("False", "InvalidSpec", str(seen.problem))
    engine = seen.plan.engine if seen.plan else None
    if engine is None:
        return Verdict("True", "Alias", "The spec is valid; it makes a route to another model.")
    return Verdict("True", "Valid", f"The spec is valid; the {engine.name} engine serves it.")


def _weights_cached(seen: Observation) -> Verdict:
    weights, fetched = (seen.plan.weights, seen.plan.fetched) if seen.plan else (None, None)
    if weights is None or weights.mode == "none":
        what = (seen.model.spec.model if seen.model else None) or "the weights"
        return Verdict(
            "False",
            "WeightsMissing",
            f"There is no volume that holds {what}: name a source to fetch it from, such as hf://OWNER/NAME, or put it "
            "into a PersistentVolumeClaim and name that in spec.serving.cache.existingClaim.",
        )
    if weights.mode == "existing":
        return Verdict("True", "ExistingClaim", f"The weights are read from the PersistentVolumeClaim {weights.claim}.")
    if weights.mode == "ephemeral":
        return Verdict("False", "Ephemeral", "Each pod fetches the weights for itself before it starts.")
    if fetched is None:
        unmade = None if seen.has_fetcher else _unmade(seen)
        return _told(seen.fetch_trouble) if seen.fetch_trouble else unmade or _fetching(seen)
    size = "The weights" if fetched.bytes is None else f"{readable_size(fetched.bytes)} of weights"
    return Verdict("True", "Fetched", f"{size} are in the PersistentVolumeClaim {weights.claim}.")


def _fetching(seen: Observation) -> Verdict:
    if seen.model is not None and seen.model.spec.disabled:
        return Verdict("False", "Disabled", "spec.disabled is true: the weights are not fetched.")
    how_far = f": {seen.progress}." if seen.progress else "; the fetcher starts."
    return Verdict("False", "Fetching", f"The weights are being fetched{how_far}")


def _ready(seen: Observation) -> Verdict:
    if seen.model is not None and seen.model.spec.alias:
        return _alias_ready(seen, seen.model.spec.alias)
    if seen.model is not None and seen.model.spec.disabled:
        return Verdict("False", "Disabled", "spec.disabled is true: there are no replicas, and requests are refused.")
    rollout = seen.rollout
    if rollout is None:
        return _obstacle(seen) or _beginning(seen)
    # The Deployment may be of another size still: what stands in the way of its change is the answer then.
    wanted = rollout.wanted if seen.model is None else wanted_replicas(model=seen.model)
    if wanted == 0:
        return _scaled_to_zero(seen)
    if rollout.ready:
        return Verdict("True", "Serving", f"{min(rollout.ready, wanted)} of {wanted} replicas answer requests.")
    # What the last valid spec made may start, and grow, whatever the present one asks for.
    return _hindrance(seen) or Verdict("False", "Starting", f"0 of {wanted} replicas answer requests so far.")


def _beginning(seen: Observation) -> Verdict:
    if seen.plan is not None and seen.plan.awaits_weights:
        return _fetching(seen)
    return Verdict("False", "Starting", "The Deployment is being made.")


def _scaled_to_zero(seen: Observation) -> Verdict:
    if seen.model is not None and seen.model.spec.serving.scaling is not None:
        return Verdict("False", "ScaledToZero", "Nobody needs a replica now; the next request starts one.")
    return Verdict(
        "False",
        "ScaledToZero",
        "No replicas are wanted: set spec.serving.replicas, or set spec.serving.scaling so that requests start one.",
    )


def _progressing(seen: Observation) -> Verdict:
    if obstacle := _obstacle(seen):
        return obstacle
    rollout, beginning = seen.rollout, _beginning(seen)
    if beginning.reason == "Fetching" or (rollout is None and beginning.reason != "Disabled"):
        # Whatever serves, replicas of the present spec are still to come.
        return beginning._replace(status="True")
    if rollout is None:
        return beginning
    if rollout.is_complete and seen.leftovers:
        return _left(seen.leftovers)
    if rollout.is_complete:
        return Verdict("False", "Complete", "Every replica is up to date.")
    return Verdict(
        "True",
        "RollingOut",
        f"{rollout.updated} of {rollout.wanted} replicas are up to date, {rollout.available} available.",
    )


def _left(leftovers: Sequence[Trouble]) -> Verdict:
    """Return the verdict on what stays; no replica waits for its end, and none is the worse for it."""
    return Verdict("False", leftovers[0].reason, " ".join(found.message for found in leftovers))


def _alias_ready(seen: Observation, target: str) -> Verdict:
    if seen.target_exists:
        return Verdict("True", "TargetFound", f"Requests go to {target}.")
    return Verdict("False", "TargetMissing", f"There is no model {target}: create it, or correct spec.alias.")


def _obstacle(seen: Observation) -> Verdict | None:
    """Return why things do not go on, if they do not."""
    if seen.problem is not None and seen.rollout is None:
        return Verdict("False", "InvalidSpec", "Nothing runs until spec is valid; see the condition Accepted.")
    if seen.problem is not None:
        return Verdict("False", "InvalidSpec", "The last valid spec stays in force until spec is valid again.")
    return _hindrance(seen)


def _hindrance(seen: Observation) -> Verdict | None:
    """Return what is in the way of the children of a spec, or ails them, if anything is or does."""
    if unmade := _unmade(seen):
        return unmade
    found = _trouble(seen)
    return _told(found, seen.lenders) if found is not None else None


def _unmade(seen: Observation) -> Verdict | None:
    """Return why not all children could be made, if there is one that could not."""
    if refused := worst(seen.refusals):
        return Verdict("False", refused.reason, " ".join(found.message for found in seen.refusals))
    if seen.conflicts:
        return _name_conflict(seen)._replace(status="False")
    if seen.awaits_removal and seen.rollout is None:
        message = "The objects of a deleted ImageModel of the same name are still being removed."
        return Verdict("False", "AwaitingRemoval", message)
    return None


def _trouble(seen: Observation) -> Trouble | None:
    """Return what ails weights or replicas; without the former no replica can get ready, whatever else is wrong."""
    if seen.fetch_trouble is not None:
        return seen.fetch_trouble
    rollout = seen.rollout
    has_more = rollout is not None and rollout.replicas > rollout.wanted
    # What an old pod holds that makes way is about to be free: nobody has to do anything. None ends that is wanted.
    return None if has_more and seen.problem is None and makes_way(rollout, seen.trouble) else seen.trouble


def _told(found: Trouble, lenders: Sequence[str] = ()) -> Verdict:
    message = found.message
    if found.reason == "NoGpuFree" and lenders:
        message += f" For a request, only idle models of {', '.join(lenders)} give theirs up."
    return Verdict("False", found.reason, message)


def _rollout_blocked(found: Trouble, *, makes_room: bool) -> Verdict:
    way_out = (
        "an old one ends first as soon as no request has come to it for a while."
        if makes_room
        else "set spec.serving.rollout: replace to have an old one that is idle end first."
    )
    return Verdict(
        "True", found.reason, f"There is no room for a new pod beside the old ones, which serve on; {way_out}"
    )


def _scaling_conflict(seen: Observation) -> Verdict:
    if seen.misaimed:
        return Verdict(
            "True",
            "WrongScaleTarget",
            f"HorizontalPodAutoscaler {', '.join(seen.misaimed)} scales the model's Deployment, and the operator sets "
            "that back to spec.serving.replicas, so that pods come and go: have it, or the ScaledObject that it is of, "
            f"target the ImageModel {seen.obj['metadata']['name']}.",
        )
    return Verdict(
        "True",
        "TwoAutoscalers",
        f"HorizontalPodAutoscaler {', '.join(seen.rivals)} sets the number of replicas, so that spec.serving.scaling "
        "only wakes the model: delete one of the two.",
    )


def _name_conflict(seen: Observation) -> Verdict:
    objects = ", ".join(seen.conflicts)
    return Verdict("True", "NameTaken", f"Somebody else's objects are in the way: delete or rename {objects}.")
