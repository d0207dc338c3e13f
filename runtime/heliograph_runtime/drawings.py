"""The queue between requests and the worker: bounded, first come first served, with like images drawn together."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from heliograph_api.errors import QUEUE_FULL, APIError
from heliograph_api.usage import Usage
from heliograph_runtime.engines.protocol import Batch, Inputs, Picture, Sampling

Listener = Callable[[int, int, Picture | None], None]
"""Called with the steps done, the number of all, and after a preview step the unfinished picture."""


@dataclass(eq=False)
class Drawing:
    """One image or clip that a request waits for.

    Attributes:
        sampling: What it must have in common with others to be drawn with them.
        prompt: What to draw.
        negative_prompt: What not to draw; None for no such prompt.
        seed: Seed of this image.
        inputs: Pictures to draw from; one object for all drawings of a request, so that they can be drawn together.
        preview_steps: Steps, counted from 1, after which the listener gets the unfinished picture.
        listener: Who wants to know of steps.
        picture: The result; cancelled when nobody waits for it any more. It belongs to the running event loop.
        usage: What the result took, once it is there.
        began: When the worker was last given it, in nanoseconds since 1970; 0 before that.
        company: Drawings in that pipeline call.
    """

    sampling: Sampling
    prompt: str
    negative_prompt: str | None
    seed: int
    inputs: Inputs | None = None
    preview_steps: tuple[int, ...] = ()
    listener: Listener | None = None
    picture: asyncio.Future[Picture] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    usage: Usage = field(default_factory=Usage)
    began: int = 0
    company: int = 0

    def goes_with(self, other: "Drawing") -> bool:
        """Return whether both can be drawn in one pipeline call."""
        return (
            self.sampling == other.sampling
            and (self.negative_prompt is None) == (other.negative_prompt is None)
            and self.inputs is other.inputs
        )

    def begin(self, company: int) -> None:
        """Note that the worker draws it from now on, as one of so many."""
        self.began, self.company = time.time_ns(), company

    def deliver(self, picture: Picture, usage: Usage) -> None:
        """Hand over the result and what it took, if anybody still waits for it."""
        if not self.picture.done():
            self.usage = usage
            self.picture.set_result(picture)

    def tell(self, done: int, steps: int, preview: Picture | None) -> None:
        """Tell the listener, if there is one, of a step; a preview that only others asked for is left out."""
        if self.listener:
            self.listener(done, steps, preview if done in self.preview_steps else None)


@dataclass(eq=False)
class _Request:
    """The drawings of one request that wait; `alone` keeps those of other requests out of their batch."""

    drawings: list[Drawing]
    alone: bool = False


class DrawingQueue:
    """Drawings in the order in which their requests came, which take turns.

    A drawing leaves the queue when it is taken, or when its picture is there or cancelled.
    """

    def __init__(self, *, max_requests: int, retry_after_seconds: int) -> None:
        self._max_requests = max_requests
        self._retry_after_seconds = retry_after_seconds
        self._requests = 0
        self._waiting: deque[_Request] = deque()
        self._filled = asyncio.Event()

    @property
    def requests(self) -> int:
        """Return the number of requests at work or waiting."""
        return self._requests

    def __len__(self) -> int:
        return sum(not drawing.picture.done() for request in self._waiting for drawing in request.drawings)

    @contextmanager
    def admitted(self, drawings: Sequence[Drawing], *, timeout_seconds: float) -> Iterator[None]:
        """Queue the drawings of one request, and cancel what is left of them on leaving.

        Pictures that are not there after `timeout_seconds` fail with 504.

        Raises:
            APIError: 429, as many requests as allowed are at work or waiting.
        """
        if self._requests >= self._max_requests:
            raise APIError(
                429,
                f"This model already has {self._requests} requests at work or waiting; try again in "
                f"{self._retry_after_seconds} s.",
                code=QUEUE_FULL,
                headers={"Retry-After": str(self._retry_after_seconds)},
            )
        self._requests += 1
        self._waiting.append(_Request(list(drawings)))
        self._filled.set()
        deadline = asyncio.get_running_loop().call_later(timeout_seconds, fail, drawings, _expired(timeout_seconds))
        try:
            yield
        finally:
            deadline.cancel()
            self._requests -= 1
            for drawing in drawings:
                drawing.picture.cancel()
            self._forget_done()

    async def wait(self, *, requests: int = 1, enough: int = 1) -> None:
        """Wait until drawings of so many requests wait, or until there are `enough` drawings of fewer."""
        while self._forget_done() < requests and len(self) < enough:
            self._filled.clear()
            await self._filled.wait()

    def take(self, most: Callable[[Sampling], int]) -> list[list[Drawing]]:
        """Remove and return what to draw in one call, by request; nothing when nothing waits.

        The request whose turn it is fills the batch as far as it can, then others whose drawings go with it fill the
        rest, in order. If more of it waits, it waits behind all others, so that a request for many images holds the
        others up for one batch at a time.

        Args:
            most: Returns how many drawings of a kind fit into a batch.
        """
        if not self._forget_done():
            return []
        turn = self._waiting.popleft()
        first = turn.drawings[0]
        free = most(first.sampling)
        taken = [_take_like(turn, first, free)]
        for request in () if turn.alone else self._waiting:
            free -= len(taken[-1])
            taken.append([] if request.alone else _take_like(request, first, free))
        self._waiting.append(turn)
        self._forget_done()
        return [drawings for drawings in taken if drawings]

    def put_back(self, batch: Sequence[list[Drawing]]) -> None:
        """Queue drawings that were taken before all others, those of each request for a batch of their own."""
        self._waiting.extendleft(_Request(drawings, alone=True) for drawings in reversed(batch))
        self._filled.set()

    def _forget_done(self) -> int:
        """Forget drawings whose picture is there or not wanted any more; return how many requests have any left."""
        for request in self._waiting:
            request.drawings = [drawing for drawing in request.drawings if not drawing.picture.done()]
        self._waiting = deque(request for request in self._waiting if request.drawings)
        return len(self._waiting)


def batch_of(drawings: Sequence[Drawing]) -> Batch:
    """Return the batch of drawings that go together, at least one."""
    negative = tuple(drawing.negative_prompt for drawing in drawings if drawing.negative_prompt is not None)
    return Batch(
        sampling=drawings[0].sampling,
        prompts=tuple(drawing.prompt for drawing in drawings),
        negative_prompts=negative or None,
        seeds=tuple(drawing.seed for drawing in drawings),
        inputs=drawings[0].inputs,
        preview_steps=tuple(
            sorted({step for drawing in drawings if drawing.listener for step in drawing.preview_steps})
        ),
    )


def fail(drawings: Sequence[Drawing], error: APIError) -> None:
    """Let the drawings that somebody still waits for fail."""
    for drawing in drawings:
        if not drawing.picture.done():
            drawing.picture.set_exception(error)


def _take_like(request: _Request, first: Drawing, most: int) -> list[Drawing]:
    """Remove and return the request's first drawings that go with `first`, at most `most`."""
    like = [drawing for drawing in request.drawings if drawing.goes_with(first)][:most]
    request.drawings = [drawing for drawing in request.drawings if drawing not in like]
    return like


def _expired(seconds: float) -> APIError:
    return APIError(
        504,
        f"The images were not ready within {seconds:g} s; ask for fewer or smaller ones, or try when the model is less "
        "busy.",
        code="deadline_exceeded",
        headers={"x-should-retry": "false"},
    )
