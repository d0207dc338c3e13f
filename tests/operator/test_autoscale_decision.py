"""How many replicas a model should have."""

from typing import Any

import pytest

from heliograph_api.serving import Scaling
from heliograph_operator.autoscale.decision import Demand, wanted_replicas
from heliograph_operator.autoscale.subject import Subject


def demand(load: int = 0, *, idle: float = 0.0, recent: int | None = None, complete: bool = True) -> Demand:
    return Demand(load=load, idle_seconds=idle, recent_load=load if recent is None else recent, is_complete=complete)


ZERO: dict[str, Any] = {"min": 0, "max": 5, "target": 2, "idleSeconds": 60}
ONE: dict[str, Any] = {**ZERO, "min": 1}
TWO: dict[str, Any] = {**ZERO, "min": 2}


@pytest.mark.parametrize(
    ("scaling", "replicas", "seen", "wanted"),
    [
        # As many as the load asks for, within the bounds.
        (ZERO, 1, demand(1), 1),
        (ZERO, 1, demand(2), 1),
        (ZERO, 1, demand(3), 2),
        (ZERO, 2, demand(100), 5),
        (TWO, 2, demand(1), 2),
        # Down only once the load has been lower for a while.
        (ZERO, 4, demand(3, recent=8), 4),
        (ZERO, 4, demand(3, recent=5), 3),
        (ZERO, 4, demand(3, recent=3), 2),
        (ZERO, 4, demand(0, idle=59.9, recent=0), 1),
        # To the fewest when it is idle, whatever there was before.
        (ZERO, 4, demand(0, idle=60, recent=8), 0),
        (ONE, 4, demand(0, idle=60, recent=8), 1),
        (TWO, 4, demand(0, idle=60), 2),
        (ZERO, 1, demand(1, idle=60), 1),
        # From none, a held request is reason enough; what was long ago is not.
        (ZERO, 0, demand(0, idle=0, recent=8), 0),
        (ZERO, 0, demand(1), 1),
        (ZERO, 0, demand(5), 3),
        (TWO, 0, demand(0, idle=1000), 2),
        # What is not known might be work for all that there are.
        (ZERO, 3, demand(0, recent=0, complete=False), 3),
        (ZERO, 3, demand(0, idle=1000, complete=False), 3),
        (ZERO, 3, demand(9, complete=False), 5),
        (ZERO, 0, demand(0, complete=False), 0),
        (ZERO, 9, demand(0, complete=False), 5),
        # Defaults: one replica, not more, four requests for each, five minutes.
        ({}, 1, demand(100), 1),
        ({}, 1, demand(0, idle=100_000), 1),
        ({"min": 0}, 1, demand(0, idle=299), 1),
        ({"min": 0}, 1, demand(0, idle=300), 0),
        ({"max": 3}, 1, demand(8), 2),
        ({"min": 2}, 1, demand(0), 2),
    ],
)
def test_replicas(scaling: dict[str, Any], replicas: int, seen: Demand, wanted: int) -> None:
    subject = Subject(scaling=Scaling.model_validate(scaling), replicas=replicas)
    assert wanted_replicas(subject, seen) == wanted


@pytest.mark.parametrize(
    ("replicas", "seen", "wanted"),
    [
        (1, demand(0, idle=10_000), 1),
        (0, demand(0, idle=10_000), 1),
        (3, demand(0, idle=10_000), 1),
        (1, demand(9), 5),
    ],
)
def test_the_last_replica_of_a_pinned_model_stays(replicas: int, seen: Demand, wanted: int) -> None:
    subject = Subject(scaling=Scaling.model_validate(ZERO), replicas=replicas, pinned=True)
    assert wanted_replicas(subject, seen) == wanted


def test_a_model_that_starts_is_not_reaped() -> None:
    subject = Subject(scaling=Scaling.model_validate(ZERO), replicas=2, starting=True)
    assert wanted_replicas(subject, demand(0, idle=10_000)) == 1
