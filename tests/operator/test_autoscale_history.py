"""What is made of the gateways' answers, one after the other."""

from typing import Any

import pytest

from heliograph_api.load import GatewayLoad, ModelLoad
from heliograph_api.serving import Scaling
from heliograph_operator.autoscale.decision import Demand
from heliograph_operator.autoscale.history import History
from heliograph_operator.autoscale.subject import Subject

WINDOW = 300.0
IDLE = 60
LONG = 10_000.0


def subject(replicas: int = 1, *, starting: bool = False) -> Subject:
    return Subject(Scaling(min=0, max=9, target=2, idle_seconds=IDLE), replicas=replicas, starting=starting)


def gateway(outstanding: int = 0, queued: int = 0, *, idle: float = 0.0, uptime: float = LONG) -> GatewayLoad:
    entry = ModelLoad(outstanding=outstanding, queued=queued, idle_seconds=idle)
    return GatewayLoad(uptime_seconds=uptime, models={"art/tiny": entry})


def unasked(uptime: float = LONG) -> GatewayLoad:
    """A gateway that had no request for the model."""
    return GatewayLoad(uptime_seconds=uptime, models={"art/other": gateway(5).models["art/tiny"]})


class Looks:
    """A history that is looked at again and again."""

    def __init__(self, replicas: int = 1, *, now: float = LONG) -> None:
        self._history = History(subject(replicas), now=now, window=WINDOW)

    def at(self, now: float, *gateways: GatewayLoad | None, **options: Any) -> Demand:
        return self._history.demand("art/tiny", subject(**options), gateways, now=LONG + now)


def test_the_gateways_are_summed_up() -> None:
    seen = Looks().at(1, gateway(2, 3), unasked(), gateway(1))
    assert (seen.load, seen.is_complete, seen.idle_seconds) == (6, True, 0)


def test_nothing_is_idle_before_it_was_looked_at_for_so_long() -> None:
    looks = Looks()
    assert looks.at(0, unasked()).idle_seconds == 0
    assert looks.at(59, unasked(), gateway(idle=500)).idle_seconds == 59


def test_the_last_request_at_any_gateway_counts() -> None:
    looks = Looks()
    assert looks.at(1000, gateway(idle=700), gateway(idle=30), unasked()).idle_seconds == 30
    assert looks.at(1010, gateway(idle=710), unasked()).idle_seconds == 40, "the other gateway is gone, not its request"


def test_a_gateway_that_has_just_started_may_have_forgotten() -> None:
    assert Looks().at(1000, unasked(uptime=20), gateway(idle=500)).idle_seconds == 20


@pytest.mark.parametrize("gateways", [(), (None,), (unasked(), None), (gateway(1), None)])
def test_what_cannot_be_asked_is_busy(gateways: tuple[GatewayLoad | None, ...]) -> None:
    looks = Looks()
    looks.at(1000, unasked())
    seen = looks.at(1001, *gateways)
    assert (seen.is_complete, seen.idle_seconds) == (False, 0)
    assert looks.at(1050, unasked()).idle_seconds == 49, "it is idle from when all could be asked again"


def test_idleness_begins_when_a_model_has_started() -> None:
    looks = Looks()
    assert looks.at(1000, unasked(), starting=True).idle_seconds == 0
    assert looks.at(1020, unasked()).idle_seconds == 20


def test_the_greatest_load_of_the_window_is_remembered() -> None:
    looks = Looks(replicas=0)
    loads = [(0, 1), (10, 8), (20, 3), (30, 5), (40, 2)]
    for now, load in loads:
        looks.at(now, gateway(load))
    assert looks.at(10 + WINDOW, gateway(1)).recent_load == 8
    assert looks.at(10.1 + WINDOW, gateway(1)).recent_load == 5
    assert looks.at(30.1 + WINDOW, gateway(1)).recent_load == 2
    assert looks.at(40.1 + WINDOW, gateway(1)).recent_load == 1


def test_the_replicas_that_are_found_at_first_may_be_needed() -> None:
    looks = Looks(replicas=3)
    assert looks.at(1, gateway(1)).recent_load == 6
    assert looks.at(WINDOW + 1, gateway(1)).recent_load == 1


def test_a_model_that_was_idle_starts_small() -> None:
    looks = Looks()
    looks.at(1, gateway(9))
    assert looks.at(30, gateway(idle=29)).recent_load == 9
    assert looks.at(61, gateway(idle=60)).recent_load == 0
