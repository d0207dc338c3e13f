"""Two gateways that know nothing of each other, before one replica that has too little room for both."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import httpx
import pytest

from gateway.busy_runtime import BusyRuntime, Device
from gateway.leashed import leashed_gateway
from scaling.awaiting import until

_PATIENCE = 60.0


class Users:
    """Asks gateways for pictures, without pause."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.lost: list[str] = []

    async def ask(self, gateway: str, whose: str, client: httpx.AsyncClient) -> None:
        body = {"model": "tiny", "prompt": "a circle", "user": whose}
        answer = await client.post(f"{gateway}/v1/images/generations", json=body)
        if answer.status_code != 200:
            self.lost.append(f"{whose}: {answer.status_code} {answer.text}")

    async def crowd(
        self, gateway: str, whose: str, client: httpx.AsyncClient, *, size: int, is_over: Callable[[], bool]
    ) -> None:
        """Have so many users of one gateway ask all the time, until it is over."""

        async def one() -> None:
            while not is_over():
                await self.ask(gateway, whose, client)

        await asyncio.gather(*(one() for _ in range(size)))


Scene = Callable[[str, str, Users, httpx.AsyncClient], Awaitable[None]]


def play(scene: Scene, device: Device, folder: Path) -> Users:
    """Play a scene with two gateways before a device."""

    async def staged() -> Users:
        users = Users(device)
        async with AsyncExitStack() as running:
            runtime = await running.enter_async_context(aclosing(BusyRuntime(device)))
            address = await runtime.start()
            one, two = (
                running.enter_context(leashed_gateway(folder / name, address, hold_seconds=_PATIENCE))
                for name in ("one", "two")
            )
            limits = httpx.Limits(max_connections=200)
            async with httpx.AsyncClient(timeout=_PATIENCE, trust_env=False, limits=limits) as client:
                await scene(one, two, users, client)
        return users

    return asyncio.run(asyncio.wait_for(staged(), 2 * _PATIENCE))


@pytest.mark.parametrize(("room", "crowd"), [(1, 6), (4, 12)])
def test_neither_is_starved(room: int, crowd: int, tmp_path: Path) -> None:
    device = Device(seconds=0.1, room=room)

    def shares() -> tuple[int, int]:
        return device.done.count("one"), device.done.count("two")

    def is_over() -> bool:
        # Who has the places leaves one to the other every few seconds, which a machine with much to do may miss.
        return min(shares()) >= 20 or sum(shares()) >= 1000

    async def scene(one: str, two: str, users: Users, client: httpx.AsyncClient) -> None:
        await asyncio.gather(
            *(users.crowd(url, name, client, size=crowd, is_over=is_over) for url, name in ((one, "one"), (two, "two")))
        )

    users = play(scene, device, tmp_path)
    assert users.lost == []
    assert device.most <= room
    assert min(shares()) >= 20


def test_one_request_gets_by_the_crowd_of_the_other_gateway(tmp_path: Path) -> None:
    device = Device(seconds=0.1, room=1)

    async def scene(one: str, two: str, users: Users, client: httpx.AsyncClient) -> None:
        crowd = asyncio.create_task(users.crowd(one, "many", client, size=30, is_over=lambda: len(device.done) >= 300))
        await until(lambda: len(device.done) >= 20, what="crowd at work")
        await users.ask(two, "single", client)
        assert not crowd.done(), "it had to wait for the end of all others"
        crowd.cancel()
        await asyncio.wait([crowd])

    users = play(scene, device, tmp_path)
    assert users.lost == []


def test_a_lone_gateway_is_not_refused_all_the_time(tmp_path: Path) -> None:
    """What it has learnt from the first refusals it keeps to."""
    device = Device(seconds=0.1, room=1)

    async def scene(one: str, _two: str, users: Users, client: httpx.AsyncClient) -> None:
        await users.crowd(one, "one", client, size=6, is_over=lambda: len(device.done) >= 100)

    users = play(scene, device, tmp_path)
    assert users.lost == []
    assert device.refused <= 40
