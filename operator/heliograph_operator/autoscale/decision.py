"""How many replicas a model should have; pure."""

import math
from dataclasses import dataclass

from heliograph_operator.autoscale.subject import Subject


@dataclass(frozen=True)
class Demand:
    """What is known of the requests for a model.

    Attributes:
        load: Requests at work and held, at the gateways that could be asked.
        idle_seconds: Seconds for which there surely was no request; 0 where some gateway could not be asked.
        recent_load: Greatest load of the past minutes; at least as much as the replicas of their beginning are for.
        is_complete: Whether every gateway could be asked.
    """

    load: int
    idle_seconds: float
    recent_load: int
    is_complete: bool


def wanted_replicas(subject: Subject, demand: Demand) -> int:
    """Return how many replicas a model should have.

    More at once, fewer only when the load has been lower for minutes, and the fewest when there was no request for
    `idleSeconds`. What a gateway that cannot be asked might have to do is taken for enough to keep every replica busy.
    """
    scaling = subject.scaling
    floor = max(1, scaling.fewest) if subject.pinned else scaling.fewest
    return min(max(_asked_for(subject, demand), floor), max(scaling.most, floor))


def _asked_for(subject: Subject, demand: Demand) -> int:
    needed = replicas_for(subject, demand.load)
    if subject.replicas == 0:
        return needed
    if not demand.is_complete:
        return max(needed, subject.replicas)
    if not demand.load and not subject.starting and demand.idle_seconds >= subject.scaling.idle_after:
        return 0
    return max(1, needed, replicas_for(subject, demand.recent_load))


def replicas_for(subject: Subject, load: int) -> int:
    """Return how many replicas a load asks for, whatever the bounds are."""
    return math.ceil(load / subject.scaling.requests_per_replica)
