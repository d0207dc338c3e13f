"""What the gateway makes of ImageModels and EndpointSlices."""

import logging
from typing import Any

import pytest

from heliograph_api.errors import APIError
from heliograph_gateway.routing import Endpoint, RoutingTable
from heliograph_gateway.watch import ModelHandler, SliceHandler, not_ready_reason, usable_endpoints

ADDRESSES = [{"addresses": ["10.0.0.1"]}]
HTTP = {"name": "http", "port": 8080}


def image_model_object(name: str = "sdxl", **fields: Any) -> dict[str, Any]:
    metadata = {"namespace": "default", "name": name, "uid": "1", "creationTimestamp": "2023-11-14T22:13:20Z"}
    spec = {"parameters": {"model": "weights"}, "serving": {"replicas": 1}}
    return {"metadata": metadata | fields.pop("metadata", {}), "spec": fields.pop("spec", spec), **fields}


def endpoint_slice(name: str = "one", service: str = "sdxl", **fields: Any) -> dict[str, Any]:
    metadata = {"namespace": "default", "name": name, "labels": {"kubernetes.io/service-name": service}}
    return {"metadata": metadata, "addressType": "IPv4", "ports": [HTTP], "endpoints": ADDRESSES} | fields


def hosts(table: RoutingTable, service: str = "sdxl") -> set[str]:
    return {endpoint.host for endpoint in table._loads.get(("default", service), {})}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [Endpoint("10.0.0.1", 8080)]),
        ({"endpoints": None}, []),
        ({"endpoints": [{"addresses": ["10.0.0.1", "10.0.0.9"]}]}, [Endpoint("10.0.0.1", 8080)]),
        ({"addressType": "IPv6", "endpoints": [{"addresses": ["fd00::1"]}]}, [Endpoint("fd00::1", 8080)]),
        ({"addressType": "FQDN", "endpoints": [{"addresses": ["metadata.example"]}]}, []),
        ({"ports": None}, []),
        ({"ports": [{"name": "http"}]}, []),
        ({"ports": [{"name": "metrics", "port": 1}, HTTP]}, [Endpoint("10.0.0.1", 8080)]),
        ({"ports": [{"name": "metrics", "port": 1}, {"name": "grpc", "port": 2}]}, []),
        ({"ports": [{"name": "", "port": 1}]}, [Endpoint("10.0.0.1", 1)]),
        ({"ports": [{"port": 1}]}, [Endpoint("10.0.0.1", 1)]),
        ({"endpoints": [ADDRESSES[0] | {"conditions": {}}]}, [Endpoint("10.0.0.1", 8080)]),
        ({"endpoints": [ADDRESSES[0] | {"conditions": {"ready": None}}]}, [Endpoint("10.0.0.1", 8080)]),
        ({"endpoints": [ADDRESSES[0] | {"conditions": {"ready": True}}]}, [Endpoint("10.0.0.1", 8080)]),
        ({"endpoints": [ADDRESSES[0] | {"conditions": {"ready": False}}]}, []),
        ({"endpoints": [ADDRESSES[0] | {"conditions": {"ready": True, "terminating": True}}]}, []),
        ({"endpoints": [ADDRESSES[0] | {"conditions": {"serving": True, "terminating": True}}]}, []),
    ],
)
def test_which_endpoints_take_requests(fields: dict[str, Any], expected: list[Endpoint]) -> None:
    assert list(usable_endpoints(endpoint_slice(**fields))) == expected


def test_the_slices_of_a_service_are_merged() -> None:
    table = RoutingTable()
    handler = SliceHandler(table)
    handler.changed(endpoint_slice("one"))
    handler.changed(endpoint_slice("two", endpoints=[{"addresses": ["10.0.0.2"]}, *ADDRESSES]))
    handler.changed(endpoint_slice("three", service="other", endpoints=[{"addresses": ["10.0.0.3"]}]))
    assert hosts(table) == {"10.0.0.1", "10.0.0.2"}
    handler.changed(endpoint_slice("one", endpoints=[]))
    assert hosts(table) == {"10.0.0.1", "10.0.0.2"}
    handler.deleted("default", "two")
    assert hosts(table) == set()
    assert hosts(table, "other") == {"10.0.0.3"}


def test_a_slice_may_go_over_to_another_service() -> None:
    table = RoutingTable()
    handler = SliceHandler(table)
    handler.changed(endpoint_slice("one"))
    handler.changed(endpoint_slice("one", service="other"))
    assert (hosts(table), hosts(table, "other")) == (set(), {"10.0.0.1"})
    handler.deleted("default", "one")
    assert hosts(table, "other") == set()


def test_a_model_is_routed_to_with_what_its_status_says() -> None:
    table = RoutingTable()
    handler = ModelHandler(table)
    conditions = [{"type": "Ready", "status": "False", "reason": "WeightsMissing", "message": "The claim is empty."}]
    handler.changed(image_model_object(status={"conditions": conditions}))
    route = table.resolve("sdxl")
    assert (route.created, route.not_ready) == (1_700_000_000, "The claim is empty.")
    handler.deleted("default", "sdxl")
    assert table.listed() == []


def test_a_model_that_is_being_deleted_has_no_route() -> None:
    table = RoutingTable()
    handler = ModelHandler(table)
    handler.changed(image_model_object())
    handler.changed(image_model_object(metadata={"deletionTimestamp": "2023-11-14T22:13:21Z", "finalizers": ["a/b"]}))
    assert table.listed() == []
    handler.deleted("default", "sdxl")


def test_an_invalid_model_has_no_route_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    table = RoutingTable()
    handler = ModelHandler(table)
    handler.changed(image_model_object())
    for _ in range(3):
        handler.changed(image_model_object(spec={"parameters": {"model": "../../etc"}}))
    with pytest.raises(APIError):
        table.resolve("sdxl")
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.WARNING
    assert "ImageModel default/sdxl gets no route: spec.parameters.model: " in caplog.text
    handler.changed(image_model_object())
    assert table.resolve("sdxl").model.name == "sdxl"
    handler.changed(image_model_object(spec={"parameters": {"model": "../../etc"}}))
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        (None, ""),
        ([], ""),
        ([{"type": "Ready", "status": "True", "message": "All is well."}], ""),
        ([{"type": "Ready", "status": "Unknown", "reason": "Starting"}], "Starting"),
        ([{"type": "Accepted", "status": "False", "message": "a"}, {"type": "Ready", "status": "False"}], ""),
        ([{"type": "Ready", "status": "False", "message": "x" * 10_000}], "x" * 500),
    ],
)
def test_why_a_model_is_not_ready(conditions: Any, reason: str) -> None:
    assert not_ready_reason({"conditions": conditions}) == reason
