"""Two gateways and the autoscaler through a thousand cycles of waking and idling, on a real API server."""

import asyncio
import random
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import httpx

from cluster.control_plane import ControlPlane
from scaling.awaiting import play, until
from scaling.installed import Installed, image_model
from scaling.node_player import NodePlayer

CYCLES = 1000
"""How often models are woken and fall asleep again, all together."""
MODELS = 24
IDLE_SECONDS = 1
PAUSES = (0.7, 2.0)
"""Shortest and longest pause between the requests for a model: about as long as it takes to fall asleep, so that many
requests come while it does."""
MOST_AT_ONCE = 3
PATIENCE = 60.0


class Users:
    """Asks the gateways for pictures.

    Attributes:
        answered: How many requests got their picture.
        lost: What was answered to the others.
    """

    def __init__(self, gateways: list[str], *, seed: int = 2) -> None:
        self.answered = 0
        self.lost: list[str] = []
        self._gateways = gateways
        self._rng = random.Random(seed)

    async def use(self, client: httpx.AsyncClient, model: str, is_enough: Callable[[], bool]) -> None:
        """Ask for pictures of a model, with pauses, until there were enough cycles."""
        while not is_enough():
            await asyncio.gather(*(self._ask(client, model) for _ in range(self._rng.randint(1, MOST_AT_ONCE))))
            await asyncio.sleep(self._rng.uniform(*PAUSES))

    async def _ask(self, client: httpx.AsyncClient, model: str) -> None:
        url = f"{self._rng.choice(self._gateways)}/v1/images/generations"
        answer = await client.post(url, json={"model": model, "prompt": "a circle"})
        if answer.status_code == 200 and answer.json()["by"] == model:
            self.answered += 1
        else:
            self.lost.append(f"{model}: {answer.status_code} {answer.text}")


async def live(
    installed: Installed, gateways: list[str], used: list[str], *, kept: Collection[str]
) -> tuple[Users, NodePlayer]:
    """Have models used for enough cycles, and then left alone until all but those that are kept are asleep for good."""
    users = Users(gateways)
    async with AsyncExitStack() as stack:
        kube = await stack.enter_async_context(installed.connected())
        player = NodePlayer(kube)
        stack.push_async_callback(player.aclose)
        await stack.enter_async_context(installed.informed(player))
        # A wake-up may wait for its turn on a slow machine, but not for longer than it could for a person.
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=PATIENCE, trust_env=False))
        await stack.enter_async_context(installed.autoscaler())
        await asyncio.gather(*(users.use(client, model, lambda: player.wakes.total() >= CYCLES) for model in used))
        asleep = [model for model in used if model not in kept]
        await until(lambda: not any(player.sizes()[model] for model in asleep), what="sleep of every model")
        # Nothing wakes by itself either.
        wakes = player.wakes.total()
        await asyncio.sleep(2 * IDLE_SECONDS)
        assert player.wakes.total() == wakes
    return users, player


def test_no_request_is_lost_and_every_model_sleeps_when_it_should(
    imagemodels: ControlPlane, namespace: str, helm: Callable[..., str], tmp_path: Path
) -> None:
    installed = Installed(imagemodels, namespace, tmp_path, helm)
    idle = {"min": 0, "idleSeconds": IDLE_SECONDS}
    models = [f"model-{number:02}" for number in range(MODELS)]
    kept = {
        "kept": image_model("kept", replicas=1, scaling={"min": 1, "idleSeconds": IDLE_SECONDS}),
        "patient": image_model("patient", replicas=1, scaling={"min": 0, "idleSeconds": 3600}),
        "pinned": image_model("pinned", replicas=1, scaling=idle, pinned=True),
    }
    by_hand = {"by-hand": image_model("by-hand", replicas=1)}
    asleep = {
        "off": image_model("off", scaling=idle, disabled=True),
        "by-hand-off": image_model("by-hand-off"),
    }
    installed.apply(*(image_model(name, scaling=idle) for name in models), *kept.values())
    installed.apply(*by_hand.values(), *asleep.values())
    with ExitStack() as stack:
        gateways = [stack.enter_context(installed.gateway()) for _ in range(2)]
        users, player = play(live(installed, [gateway.url for gateway in gateways], [*models, *kept], kept=kept))
        assert users.lost == []
        assert users.answered >= player.wakes.total() >= CYCLES
        awake = {**kept, **by_hand}
        assert {name: player.least[name] for name in awake} == dict.fromkeys(awake, 1)
        assert not any(player.wakes[name] for name in (*awake, *asleep))
        for gateway in gateways:
            answer = httpx.post(
                f"{gateway.url}/v1/images/generations", json={"model": "by-hand-off", "prompt": "x"}, trust_env=False
            )
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_not_ready")
            assert "spec.serving.scaling" in answer.json()["error"]["message"]
            assert all(entry.queued == entry.outstanding == 0 for entry in gateway.load().models.values())
        sizes = {name: installed.replicas(name) for name in (*models, *awake, *asleep)}
        assert sizes == dict.fromkeys((*models, *asleep), 0) | dict.fromkeys(awake, 1)
