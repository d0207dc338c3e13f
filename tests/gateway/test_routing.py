"""Resolving a request's model, and choosing a replica."""

from collections import Counter
from collections.abc import Callable

import pytest

from gateway.manifests import image_model
from heliograph_api.errors import APIError
from heliograph_api.naming import child_name
from heliograph_gateway.names import Route
from heliograph_gateway.refusals import not_ready
from heliograph_gateway.routing import Endpoint, RoutingTable

ONE, TWO, THREE = (Endpoint(f"10.0.0.{number}", 8080) for number in (1, 2, 3))


def table(*names: str, ready: tuple[str, ...] = (), default_model: str | None = None) -> RoutingTable:
    routes = RoutingTable(default_model=default_model)
    for name in names:
        routes.set_model(image_model(name))
    for name in ready:
        routes.set_endpoints("default", child_name(name), [ONE])
    return routes


def outstanding(routes: RoutingTable) -> dict[str, int]:
    return {route.model.name: count for route, count in routes.outstanding()}


def taken(routes: RoutingTable, route: Route) -> tuple[Endpoint, Callable[[], None]]:
    """Return the endpoint that a request gets, and what gives it back."""
    chosen = routes.find(route)
    assert chosen
    return chosen, routes.take(route, chosen)


def test_endpoint_url() -> None:
    assert Endpoint("10.0.0.1", 80).url == "http://10.0.0.1:80"
    assert Endpoint("fd00::1", 80).url == "http://[fd00::1]:80"


def test_an_unknown_model_is_answered_with_the_models_there_are() -> None:
    with pytest.raises(APIError) as caught:
        table("sdxl", "flux").resolve("gpt-4")
    assert (caught.value.status, caught.value.code, caught.value.param) == (404, "model_not_found", "model")
    assert str(caught.value) == "The model 'gpt-4' does not exist. Available models: flux, sdxl."


def test_the_list_in_the_answer_stays_short() -> None:
    with pytest.raises(APIError, match=r"model-099, and 400 more\.$"):
        table(*(f"model-{number:03}" for number in range(500))).resolve("other")


def test_a_disabled_model_is_forbidden() -> None:
    routes = RoutingTable()
    routes.set_model(image_model("off", disabled=True))
    with pytest.raises(APIError) as caught:
        routes.resolve("off")
    assert (caught.value.status, caught.value.code) == (403, "model_disabled")


def test_changes_are_seen_at_once() -> None:
    routes = table("sdxl")
    assert routes.resolve("sdxl").not_ready == ""
    routes.set_model(image_model("sdxl", name="new"), not_ready="Its weights are on their way.")
    assert routes.resolve("new").not_ready == "Its weights are on their way."
    routes.remove_model("default", "sdxl")
    routes.remove_model("default", "sdxl")
    assert routes.listed() == []
    with pytest.raises(APIError, match="Available models: none"):
        routes.resolve("new")


def test_without_a_name_the_first_ready_model_is_taken() -> None:
    assert table("b", "a", "c", ready=("c", "b")).resolve(None).model.name == "b"
    assert table("b", "a", "c").resolve(None).model.name == "a"
    assert table("only").resolve(None).model.name == "only"


def test_without_a_name_a_disabled_model_or_alias_is_not_taken() -> None:
    routes = RoutingTable()
    routes.set_model(image_model("a", disabled=True))
    routes.set_endpoints("default", child_name("a"), [ONE])
    routes.set_model(image_model("b", alias="c"))
    with pytest.raises(APIError) as caught:
        routes.resolve(None)
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")
    routes.set_model(image_model("c"))
    assert routes.resolve(None).model.name == "c"


def test_the_configured_default_model() -> None:
    assert table("a", "b", ready=("a",), default_model="b").resolve(None).model.name == "b"
    assert table("a", "b", default_model="b").resolve("a").model.name == "a"
    with pytest.raises(APIError, match="'missing' does not exist"):
        table("a", default_model="missing").resolve(None)


def test_endpoints_may_come_before_their_model() -> None:
    routes = RoutingTable()
    routes.set_endpoints("default", child_name("late"), [ONE])
    routes.set_model(image_model("late"))
    assert routes.find(routes.resolve("late")) == ONE


def test_equal_endpoints_take_turns() -> None:
    routes = table("sdxl")
    routes.set_endpoints("default", child_name("sdxl"), [ONE, TWO, THREE])
    found = []
    for _ in range(9):
        endpoint, give_back = taken(routes, routes.resolve("sdxl"))
        found.append(endpoint)
        give_back()
    assert set(found[:3]) == {ONE, TWO, THREE}
    assert found == found[:3] * 3


def test_the_endpoint_with_the_least_outstanding_requests_is_found() -> None:
    routes = table("sdxl")
    routes.set_endpoints("default", child_name("sdxl"), [ONE, TWO])
    route = routes.resolve("sdxl")
    held = [taken(routes, route) for _ in range(8)]
    assert Counter(endpoint for endpoint, _ in held) == {ONE: 4, TWO: 4}
    assert outstanding(routes) == {"sdxl": 8}
    routes.set_endpoints("default", child_name("sdxl"), [ONE, TWO, THREE])
    later = [taken(routes, route) for _ in range(4)]
    assert [endpoint for endpoint, _ in later] == [THREE] * 4
    for _, give_back in held + later:
        give_back()
    assert outstanding(routes) == {"sdxl": 0}


def test_an_endpoint_that_is_found_is_not_yet_taken() -> None:
    routes = table("sdxl", ready=("sdxl",))
    route = routes.resolve("sdxl")
    assert routes.find(route) == ONE
    assert outstanding(routes) == {"sdxl": 0}
    _, give_back = taken(routes, route)
    assert outstanding(routes) == {"sdxl": 1}
    give_back()
    assert outstanding(routes) == {"sdxl": 0}


def test_an_endpoint_that_leaves_gets_nothing_new_and_is_counted_until_it_is_done() -> None:
    routes = table("sdxl")
    service = child_name("sdxl")
    routes.set_endpoints("default", service, [ONE])
    route = routes.resolve("sdxl")
    _, give_back = taken(routes, route)
    routes.set_endpoints("default", service, [TWO])
    assert outstanding(routes) == {"sdxl": 1}
    assert routes.find(route) == TWO
    routes.set_endpoints("default", service, [ONE, TWO])
    assert routes.find(route) == TWO, "the request that was at work all the while still counts"
    routes.set_endpoints("default", service, [])
    assert outstanding(routes) == {"sdxl": 1}
    give_back()
    assert outstanding(routes) == {}
    routes.set_endpoints("default", service, [])


def test_excluded_endpoints_are_not_found() -> None:
    routes = table("sdxl")
    routes.set_endpoints("default", child_name("sdxl"), [ONE, TWO])
    route = routes.resolve("sdxl")
    for exclude, left in (([ONE], TWO), ([ONE, TWO], None)):
        assert routes.find(route, exclude=exclude) == left
        assert routes.is_ready(route, exclude=exclude) == (left is not None)


@pytest.mark.parametrize(
    ("spec", "seconds"), [({}, "10"), ({"serving": {"limits": {"retryAfterSeconds": 120}}}, "120")]
)
def test_a_model_without_endpoints_is_not_ready(spec: dict[str, object], seconds: str) -> None:
    routes = RoutingTable()
    routes.set_model(image_model("sdxl", **spec), not_ready="Its weights are on their way.")
    route = routes.resolve("sdxl")
    assert routes.find(route) is None
    assert not routes.is_ready(route)
    refusal = not_ready(route)
    assert (refusal.status, refusal.code) == (503, "model_not_ready")
    assert str(refusal) == "The model 'sdxl' is not ready: Its weights are on their way."
    assert refusal.headers == {"Retry-After": seconds}
