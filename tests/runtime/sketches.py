"""Drawings for tests of the queue and of what is behind it, and a bounded event loop to use them in."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from heliograph_runtime.drawings import Drawing
from heliograph_runtime.engines.protocol import Inputs, Picture, Sampling
from heliograph_runtime.events import Finished
from heliograph_runtime.service import Service

T = TypeVar("T")
SAMPLING = Sampling(mode="text", width=8, height=8, steps=4)


def sketch(
    prompt: str,
    *,
    steps: int = 4,
    negative: str | None = None,
    seed: int = 1,
    inputs: Inputs | None = None,
    preview_steps: tuple[int, ...] = (),
) -> Drawing:
    """Return a drawing of an 8x8 picture, from its inputs if it has any."""
    return Drawing(
        sampling=replace(SAMPLING, steps=steps, mode="image" if inputs else "text"),
        prompt=prompt,
        negative_prompt=negative,
        seed=seed,
        inputs=inputs,
        preview_steps=preview_steps,
    )


def run(test: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns, which it must do within a minute."""
    return asyncio.run(asyncio.wait_for(test, timeout=60))


async def drawn(service: Service, drawings: Sequence[Drawing]) -> list[Picture]:
    """Return the pictures of a request's drawings; raise `APIError` if one of them fails."""
    with service.draw_events(drawings) as events:
        finished = {event.index: event.picture async for event in events if isinstance(event, Finished)}
    return [finished[index] for index in sorted(finished)]
