"""The metrics of a gateway with many models and keys."""

import asyncio

from gateway.manifests import image_model
from heliograph_api.usage import Usage
from heliograph_gateway.health import Health
from heliograph_gateway.load import Loads
from heliograph_gateway.metrics import Metrics
from heliograph_gateway.names import Route
from heliograph_gateway.routing import RoutingTable


def test_requests_go_on_while_many_series_are_written() -> None:
    routes = RoutingTable()
    metrics = Metrics(routes, Health(), Loads())
    for number in range(20):
        model = image_model(f"model-{number}")
        routes.set_model(model)
        for key in range(50):
            metrics.count_usage(f"key-{key}", Route(model), Usage(images=1))

    async def scenario() -> tuple[bytes, int]:
        reading = asyncio.create_task(metrics.read({f"key-{key}" for key in range(50)}))
        turns = 0
        while not reading.done():
            await asyncio.sleep(0.001)
            turns += 1
        return await reading, turns

    text, turns = asyncio.run(scenario())
    assert text.count(b"heliograph_gateway_usage_images_total{") == 1000
    assert b"heliograph_gateway_outstanding_requests" in text
    # What is written in the event loop gives way once.
    assert turns > 3


def test_series_of_deleted_keys_end() -> None:
    routes = RoutingTable()
    metrics = Metrics(routes, Health(), Loads())
    model = image_model("dream")
    routes.set_model(model)
    for key in "", "kept", "deleted":
        metrics.count_usage(key, Route(model), Usage(images=1))
    text = asyncio.run(metrics.read({"kept"})).decode()
    assert 'key="deleted"' not in text
    for name in "images", "pixels", "steps", "seconds", "gpu_seconds":
        for key in "", "kept":
            assert f'heliograph_gateway_usage_{name}_total{{key="{key}",model="dream",namespace="' in text
