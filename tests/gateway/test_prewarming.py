"""Starting a model beforehand by a header."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from gateway.running import StartGateway
from heliograph_gateway.names import Route

COLD = {"serving": {"replicas": 0, "scaling": {"min": 0}}}


@dataclass
class _Wakes:
    """Remembers which models were to be woken."""

    models: list[str] = field(default_factory=list)

    def wake(self, route: Route, *, is_wanted: Callable[[], bool], on_woken: Callable[[Route], None]) -> None:  # noqa: ARG002
        assert is_wanted()
        self.models.append(route.model.name)

    async def aclose(self) -> None: ...


@pytest.mark.parametrize(
    ("tiny", "headers", "woken"),
    [
        pytest.param(COLD, {"x-heliograph-prewarm": "true"}, ["tiny"], id="asked for"),
        pytest.param(COLD, {"x-heliograph-prewarm": "false"}, [], id="declined"),
        pytest.param(COLD, {}, [], id="not asked for"),
        pytest.param({}, {"x-heliograph-prewarm": "true"}, [], id="a model that only a person starts"),
    ],
)
def test_a_header_starts_a_model(
    start_gateway: StartGateway, tiny: dict[str, object], headers: dict[str, str], woken: list[str]
) -> None:
    wakes = _Wakes()
    gateway = start_gateway(tiny=tiny, waker=wakes)
    answer = gateway.client.get("/v1/models/tiny", headers=headers)
    assert (answer.status_code, answer.json()["id"], wakes.models) == (200, "tiny", woken)


def test_whatever_else_the_header_says_is_an_error(start_gateway: StartGateway) -> None:
    wakes = _Wakes()
    gateway = start_gateway(tiny=COLD, waker=wakes)
    answer = gateway.client.get("/v1/models/tiny", headers={"x-heliograph-prewarm": "maybe"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "x-heliograph-prewarm")
    assert wakes.models == []
