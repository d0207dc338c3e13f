"""Probes and metrics of the operator."""

import asyncio

import aiohttp

from cluster.addresses import free_port
from heliograph_operator.health import Health, serve_health
from heliograph_operator.inventory import Inventory, Key
from heliograph_operator.metrics import Metrics

OBJECT = {"metadata": {"name": "tiny", "namespace": "art", "resourceVersion": "1"}}


async def answers(health: Health, path: str) -> tuple[int, str]:
    port = free_port()
    async with (
        serve_health(health, host="127.0.0.1", port=port),
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        return response.status, await response.text()


def test_ready_when_listed() -> None:
    async def scenario() -> None:
        health = Health(inventory=Inventory(), metrics=Metrics())
        status, text = await answers(health, "/readyz")
        assert status == 503
        assert "could not be listed" in text
        health.ready.set()
        assert await answers(health, "/readyz") == (200, "ok\n")

    asyncio.run(scenario())


def test_alive_until_a_change_is_missed_for_long() -> None:
    async def scenario() -> None:
        inventory = Inventory()
        health = Health(inventory=inventory, metrics=Metrics())
        now = asyncio.get_running_loop().time()
        inventory.take_stock([OBJECT], namespace=None, now=now - 60, since=inventory.events)
        assert await answers(health, "/healthz") == (200, "ok\n")
        inventory.forget(Key("art", "tiny"))
        inventory.take_stock([OBJECT], namespace=None, now=now - 200, since=inventory.events)
        status, text = await answers(health, "/healthz")
        assert status == 500
        assert "the watch is dead: it has missed a change for 200 s" in text

    asyncio.run(scenario())


def test_metrics_count_the_models() -> None:
    async def scenario() -> str:
        inventory, metrics = Inventory(), Metrics()
        inventory.see(OBJECT)
        verdicts = {"Ready": ("True", "Serving"), "Progressing": ("False", "Complete")}
        inventory.set_conditions(Key("art", "tiny"), verdicts)
        metrics.wrote("Deployment", "apply")
        return (await answers(Health(inventory=inventory, metrics=metrics), "/metrics"))[1]

    text = asyncio.run(scenario())
    assert 'heliograph_operator_models{ready="True"} 1.0' in text
    assert 'heliograph_operator_models{ready="False"} 0.0' in text
    assert 'heliograph_operator_model_ready{model="tiny",namespace="art",reason="Serving"} 1.0' in text
    assert 'heliograph_operator_conditions{reason="Complete",status="False",type="Progressing"} 1.0' in text
    assert 'heliograph_operator_writes_total{kind="Deployment",verb="apply"} 1.0' in text
