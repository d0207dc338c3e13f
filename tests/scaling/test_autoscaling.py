"""The autoscaler and gateways on a real API server, each rule in its turn."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster.control_plane import ControlPlane
from heliograph_api import load, naming
from scaling.awaiting import play, until
from scaling.installed import LOAD_SERVICE, GatewayProcess, Installed, horizontal_pod_autoscaler, image_model
from scaling.node_player import NodePlayer

PATIENCE = 30.0
LONG = 4.0
"""Seconds: several times as long as the models of these tests may be idle."""
IDLE = {"min": 0, "idleSeconds": 1}


@pytest.fixture
def place(imagemodels: ControlPlane, namespace: str, helm: Callable[..., str], tmp_path: Path) -> Installed:
    return Installed(imagemodels, namespace, tmp_path, helm)


@pytest.fixture
def gateway(place: Installed) -> Iterator[GatewayProcess]:
    with place.gateway(MAX_HELD_PER_MODEL="2", HOLD_SECONDS="10") as running:
        yield running


@dataclass
class Stage:
    """A gateway and an autoscaler at work, and what plays the nodes."""

    installed: Installed
    player: NodePlayer
    client: httpx.AsyncClient

    async def ask(self, model: str, **fields: Any) -> httpx.Response:
        return await self.client.post(
            "/v1/images/generations", json={"model": model, "prompt": "a circle", **fields}, timeout=PATIENCE
        )

    def size(self, model: str) -> int | None:
        return self.player.sizes().get(model)

    async def wait_for_size(self, model: str, size: int) -> None:
        await until(lambda: self.size(model) == size, what=f"size {size} of {model}")


@asynccontextmanager
async def staged(installed: Installed, gateway: GatewayProcess, **play: Any) -> AsyncIterator[Stage]:
    window = play.pop("window", 300.0)
    async with AsyncExitStack() as stack:
        kube = await stack.enter_async_context(installed.connected())
        player = NodePlayer(kube, **play)
        stack.push_async_callback(player.aclose)
        await stack.enter_async_context(installed.informed(player))
        client = httpx.AsyncClient(base_url=gateway.url, trust_env=False)
        await stack.enter_async_context(client)
        await stack.enter_async_context(installed.autoscaler(window=window))
        yield Stage(installed, player, client)


def test_the_load_decides_on_the_size(place: Installed, gateway: GatewayProcess) -> None:
    scaling = {"min": 1, "max": 2, "target": 1, "idleSeconds": 1}
    place.apply(image_model("busy", replicas=1, scaling=scaling))

    async def scene() -> None:
        async with staged(place, gateway, work=(2.0, 2.0), window=1.0) as stage:
            await stage.wait_for_size("busy", 1)
            assert (await stage.ask("busy")).is_success
            asking = [asyncio.create_task(stage.ask("busy")) for _ in range(3)]
            await stage.wait_for_size("busy", 2)
            assert all([(await task).is_success for task in asking])
            await stage.wait_for_size("busy", 1)
            assert stage.player.least["busy"] == 1

    play(scene())


def test_more_requests_than_a_replica_takes_are_all_served(place: Installed) -> None:
    """They come to two gateways while the model is asleep, and all at once."""
    place.apply(image_model("wanted", scaling={"min": 0, "idleSeconds": 60}))

    async def scene(one: GatewayProcess, other: GatewayProcess) -> None:
        async with staged(place, one, work=(0.1, 0.1), room=4) as stage:
            await stage.wait_for_size("wanted", 0)
            url = f"{other.url}/v1/images/generations"
            body = {"model": "wanted", "prompt": "a circle"}
            asking = [stage.ask("wanted") for _ in range(20)]
            asking += [stage.client.post(url, json=body, timeout=PATIENCE) for _ in range(20)]
            answers = await asyncio.gather(*asking)
            assert [answer.status_code for answer in answers] == [200] * 40
            # Each gateway sends 16 at first, and then no more than it has learnt that there is room for.
            assert stage.player.refused() >= 16 - 4

    with place.gateway() as one, place.gateway() as other:
        play(scene(one, other))


def test_a_model_that_starts_for_longer_than_it_may_be_idle_gets_ready(
    place: Installed, gateway: GatewayProcess
) -> None:
    """Though its only client left long before, as one with a timeout of its own does."""
    place.apply(image_model("slow", scaling=IDLE))

    async def scene() -> None:
        async with staged(place, gateway, start=(LONG, LONG)) as stage:
            await stage.wait_for_size("slow", 0)
            with pytest.raises(httpx.ReadTimeout):
                await stage.client.post(
                    "/v1/images/generations", json={"model": "slow", "prompt": "a circle"}, timeout=0.5
                )
            await stage.wait_for_size("slow", 1)
            assert (await stage.ask("slow")).is_success
            assert stage.player.wakes["slow"] == 1
            await stage.wait_for_size("slow", 0)

    play(scene())


def test_a_gateway_that_cannot_be_asked_counts_as_busy(place: Installed, gateway: GatewayProcess) -> None:
    place.apply(image_model("watched", scaling=IDLE), unreachable_gateway())

    async def scene() -> None:
        async with staged(place, gateway) as stage:
            await stage.wait_for_size("watched", 0)
            assert (await stage.ask("watched")).is_success
            await asyncio.sleep(LONG)
            assert stage.size("watched") == 1
            name = unreachable_gateway()["metadata"]["name"]
            await asyncio.to_thread(place.cluster.kubectl, "delete", "endpointslice", name, "-n", place.namespace)
            await stage.wait_for_size("watched", 0)

    play(scene())


def test_what_a_horizontal_pod_autoscaler_scales_is_left_alone(place: Installed, gateway: GatewayProcess) -> None:
    place.apply(image_model("shared", scaling=IDLE), horizontal_pod_autoscaler("shared"))

    async def scene() -> None:
        async with staged(place, gateway) as stage:
            await stage.wait_for_size("shared", 0)
            assert (await stage.ask("shared")).is_success, "it is woken all the same"
            await asyncio.sleep(LONG)
            assert stage.size("shared") == 1
            await asyncio.to_thread(place.cluster.kubectl, "delete", "hpa", "shared", "-n", place.namespace)
            await stage.wait_for_size("shared", 0)

    play(scene())


def test_a_request_is_checked_before_anything_is_woken(place: Installed, gateway: GatewayProcess) -> None:
    place.apply(image_model("asleep", scaling=IDLE))

    async def scene() -> None:
        async with staged(place, gateway) as stage:
            await stage.wait_for_size("asleep", 0)
            assert (await stage.ask("asleep", n="many")).status_code == 400
            await asyncio.sleep(1)
            assert (stage.size("asleep"), stage.player.wakes["asleep"]) == (0, 0)

    play(scene())


def test_a_video_job_wakes_its_model(place: Installed, gateway: GatewayProcess) -> None:
    place.apply(image_model("clips", scaling=IDLE))

    async def scene() -> None:
        async with staged(place, gateway) as stage:
            await stage.wait_for_size("clips", 0)
            made = await stage.client.post("/v1/videos", json={"model": "clips", "prompt": "a circle"})
            assert made.is_success
            await until(lambda: stage.player.wakes["clips"] == 1, what="wake by the job")

    play(scene())


def test_no_more_is_held_than_allowed_and_no_longer(place: Installed, gateway: GatewayProcess) -> None:
    """No node plays along: the model never gets ready."""
    place.apply(image_model("stuck", scaling=IDLE, name="stuck/model"), image_model("other-name", alias="stuck/model"))

    async def scene() -> None:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=PATIENCE, trust_env=False) as client:

            async def ask(model: str, **fields: Any) -> httpx.Response:
                return await client.post("/v1/images/generations", json={"model": model, "prompt": "x", **fields})

            async def is_known() -> bool:
                return (await client.get("/v1/models/other-name")).is_success

            async def entry() -> load.ModelLoad | None:
                told = await asyncio.to_thread(gateway.load)
                return told.models.get(f"{place.namespace}/stuck")

            async def is_full() -> bool:
                return (found := await entry()) is not None and found.queued == 2

            await until(is_known, what="alias")
            asking = [
                asyncio.create_task(ask("stuck/model")),
                asyncio.create_task(ask("other-name", stream=True)),
            ]
            await until(is_full, what="both requests in the hold")
            assert (found := await entry())
            assert (found.outstanding, found.idle_seconds) == (0, 0)
            refused = await ask("stuck")
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
            assert await asyncio.to_thread(place.replicas, "stuck") == 1
            plain, stream = await asyncio.gather(*asking)
            assert (plain.status_code, plain.json()["error"]["code"]) == (503, "model_not_ready")
            assert 0 < int(plain.headers["retry-after"]) <= 120
            # Who gets events is told meanwhile how it stands, so that the status is gone already.
            assert (stream.status_code, stream.text.startswith(": heliograph state=loading ")) == (200, True)
            assert '"code": "model_not_ready"' in stream.text.split("event: error\n")[1]
            metrics = (await client.get("/metrics")).text
            assert f'heliograph_gateway_wakes_total{{model="stuck",namespace="{place.namespace}"}} 1.0' in metrics

    play(scene())


def unreachable_gateway() -> dict[str, Any]:
    """An endpoint of the gateways' Service whose node is gone: packets to it are answered by nobody."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "gateway-gone", "labels": {naming.SERVICE_NAME_LABEL: LOAD_SERVICE}},
        "addressType": "IPv4",
        "ports": [{"name": load.PORT_NAME, "port": 8082}],
        "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": False}}],
    }
