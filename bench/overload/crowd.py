"""Users of a gateway: some that ask as fast as they get answers, and some that come whatever happens to the others."""

import asyncio
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import aiohttp

_PATH = "/v1/images/generations"
_RETRIES = 2
"""As often as OpenAI's clients repeat a request."""
_JITTER = 1.25
_PATIENCE = aiohttp.ClientTimeout(total=600)


@dataclass
class Tally:
    """What became of the requests of one owner.

    Attributes:
        asked: Requests, those that were repeated counted once.
        answered: When each picture came, on the monotonic clock, with the seconds since it was first asked for.
        refusals: Retry-After of each 429, in seconds; None where there was none.
        given_up: Requests that were refused as often as a client repeats them.
        failed: Whatever else was answered.
    """

    asked: int = 0
    answered: list[tuple[float, float]] = field(default_factory=list)
    refusals: list[int | None] = field(default_factory=list)
    given_up: int = 0
    failed: list[str] = field(default_factory=list)

    def between(self, start: float, end: float) -> list[float]:
        """Return the seconds that the pictures took that came in a stretch of time."""
        return [took for when, took in self.answered if start <= when < end]


class Crowd:
    """Asks one gateway, each owner with a key of its own."""

    def __init__(self, url: str, owners: list[str], *, seed: int = 1) -> None:
        self.tallies = {owner: Tally() for owner in owners}
        self._url = url + _PATH
        self._rng = random.Random(seed)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=_PATIENCE, trust_env=False
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def closed_loop(self, owner: str, *, clients: int, seconds: float) -> None:
        """Have so many clients ask again as soon as they are answered."""

        async def one() -> None:
            while time.monotonic() < end:
                await self._ask(owner)

        end = time.monotonic() + seconds
        await asyncio.gather(*(one() for _ in range(clients)))

    async def open_loop(self, rates: dict[str, float], *, seconds: float) -> None:
        """Have requests of each owner come at a rate per second (a Poisson process), whatever became of those before.

        Those that are still under way at the end are dropped.
        """
        async with asyncio.TaskGroup() as asking:
            end = time.monotonic() + seconds
            coming = [asyncio.create_task(self._come(owner, rate, end, asking)) for owner, rate in rates.items()]
            await asyncio.gather(*coming)
            tasks = [task for task in asyncio.all_tasks() if task.get_name() == "ask"]
            for task in tasks:
                task.cancel()

    async def _come(self, owner: str, rate: float, end: float, asking: asyncio.TaskGroup) -> None:
        for moment in self._arrivals(rate, time.monotonic()):
            if moment >= end:
                break
            await asyncio.sleep(max(moment - time.monotonic(), 0))
            asking.create_task(self._ask(owner), name="ask")
        await asyncio.sleep(max(end - time.monotonic(), 0))

    def _arrivals(self, rate: float, start: float) -> Iterator[float]:
        moment = start
        while True:
            moment += self._rng.expovariate(rate)
            yield moment

    async def _ask(self, owner: str) -> None:
        """Ask for a picture, and once more after as long as a refusal says, as OpenAI's clients do."""
        tally, began = self.tallies[owner], time.monotonic()
        tally.asked += 1
        body = json.dumps({"model": "tiny", "prompt": "a circle", "user": owner}).encode()
        headers = {"authorization": f"Bearer {owner}-key", "content-type": "application/json"}
        for _ in range(_RETRIES + 1):
            async with self._session.post(self._url, data=body, headers=headers) as answer:
                content = await answer.read()
                if answer.status == 200:
                    now = time.monotonic()
                    tally.answered.append((now, now - began))
                    return
                if answer.status != 429:
                    tally.failed.append(f"{answer.status} {content[:200]!r}")
                    return
                told = answer.headers.get("retry-after", "")
                tally.refusals.append(int(told) if told.isdecimal() else None)
            await asyncio.sleep((tally.refusals[-1] or 1) * self._rng.uniform(1, _JITTER))
        tally.given_up += 1
