"""The queue between requests and the worker: bounded, first come first served, with like images drawn together."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from heliograph_api.errors import APIError
from heliograph_runtime.engines.protocol import Batch, Picture, Sampling


@dataclass(eq=False)
class Drawing:
    """One image that a request waits for.

    Attributes:
        sampling: What it must have in common with others to be drawn with them.
        prompt: What to draw.
        negative_prompt: What not to draw; None for no such prompt.
        seed: Seed of this image.
        picture: The result; cancelled when nobody waits for it any more. It belongs to the running event loop.
    """

    sampling: Sampling
    prompt: str
    negative_prompt: str | None
    seed: int
    picture: asyncio.Future[Picture] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def goes_with(self, other: "Drawing") -> bool:
        """Return whether both can be drawn in one pipeline call."""
        return self.sampling == other.sampling and (self.negative_prompt is None) == (other.negative_prompt is None)


class DrawingQueue:
    """Drawings in the order in which they came.

    A drawing leaves the queue when it is taken, or when its picture is cancelled.
    """

    def __init__(self, *, max_requests: int, retry_after_seconds: int) -> None:
        self._max_requests = max_requests
        self._retry_after_seconds = retry_after_seconds
        self._requests = 0
        self._waiting: deque[Drawing] = deque()
        self._filled = asyncio.Event()

    @property
    def requests(self) -> int:
        """Return the number of requests at work or waiting."""
        return self._requests

    def __len__(self) -> int:
        return sum(not drawing.picture.done() for drawing in self._waiting)

    @contextmanager
    def admitted(self, drawings: Sequence[Drawing]) -> Iterator[None]:
        """Queue the drawings of one request, and cancel what is left of them on leaving.

        Raises:
            APIError: 429, as many requests as allowed are at work or waiting.
        """
        if self._requests >= self._max_requests:
            raise APIError(
                429,
                f"This model already has {self._requests} requests at work or waiting; try again in "
                f"{self._retry_after_seconds} s.",
                code="queue_full",
                headers={"Retry-After": str(self._retry_after_seconds)},
            )
        self._requests += 1
        self._waiting.extend(drawings)
        self._filled.set()
        try:
            yield
        finally:
            self._requests -= 1
            for drawing in drawings:
                drawing.picture.cancel()
            self._waiting = deque(drawing for drawing in self._waiting if not drawing.picture.done())

    async def wait(self) -> None:
        """Wait until there is a drawing."""
        while not len(self):
            self._filled.clear()
            await self._filled.wait()

    def take(self, most: int) -> list[Drawing]:
        """Remove and return the oldest drawing and up to `most - 1` that go with it, in their order."""
        wanted = [drawing for drawing in self._waiting if not drawing.picture.done()]
        taken = [drawing for drawing in wanted if drawing.goes_with(wanted[0])][:most]
        self._waiting = deque(drawing for drawing in wanted if drawing not in taken)
        return taken


def batch_of(drawings: Sequence[Drawing]) -> Batch:
    """Return the batch of drawings that go together, at least one."""
    negative = tuple(drawing.negative_prompt for drawing in drawings if drawing.negative_prompt is not None)
    return Batch(
        sampling=drawings[0].sampling,
        prompts=tuple(drawing.prompt for drawing in drawings),
        negative_prompts=negative or None,
        seeds=tuple(drawing.seed for drawing in drawings),
    )
