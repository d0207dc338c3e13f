"""What a gateway tells of its load."""

import pytest
from starlette.testclient import TestClient

from gateway.manifests import image_model
from gateway.states import Clock
from heliograph_gateway.load import Loads, load_app
from heliograph_gateway.names import Route

TINY, BIG = Route(image_model("tiny")), Route(image_model("big", "art", name="The Big One"))


def told(loads: Loads) -> dict[str, tuple[int, int, float]]:
    return {
        name: (entry.outstanding, entry.queued, entry.idle_seconds) for name, entry in loads.report().models.items()
    }


def test_requests_are_counted_for_as_long_as_they_last() -> None:
    clock = Clock()
    loads = Loads(clock=clock)
    assert told(loads) == {}
    with loads.request(TINY), loads.request(BIG):
        clock.time += 5
        with loads.request(TINY), loads.holding(TINY):
            assert told(loads) == {"default/tiny": (1, 1, 0.0), "art/big": (1, 0, 0.0)}
            assert loads.held(TINY.key) == 1
        assert told(loads)["default/tiny"] == (1, 0, 0.0)
    clock.time += 7
    assert told(loads) == {"default/tiny": (0, 0, 7.0), "art/big": (0, 0, 7.0)}
    assert loads.report().uptime_seconds == 12.0


def test_a_request_that_fails_is_over() -> None:
    loads = Loads()
    with pytest.raises(RuntimeError), loads.request(TINY), loads.holding(TINY):
        raise RuntimeError
    assert told(loads)["default/tiny"][:2] == (0, 0)


def test_what_was_long_ago_is_forgotten() -> None:
    clock = Clock()
    loads = Loads(clock=clock)
    with loads.request(TINY):
        clock.time += 1_000_000
        assert told(loads) == {"default/tiny": (1, 0, 0.0)}
    clock.time += 604_800
    assert "default/tiny" in told(loads)
    clock.time += 1
    assert told(loads) == {}


def test_it_is_told_as_json() -> None:
    loads = Loads(clock=Clock())
    with loads.request(TINY), TestClient(load_app(loads)) as client:
        answer = client.get("/load")
        assert answer.json() == {
            "uptime_seconds": 0.0,
            "models": {"default/tiny": {"outstanding": 1, "queued": 0, "idle_seconds": 0.0}},
        }
        assert client.post("/load").status_code == 405
        assert client.get("/v1/models").status_code == 404
