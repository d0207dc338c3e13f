"""What happens to the drawings of one request until they are done, for a client that watches."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

from heliograph_api.usage import Usage
from heliograph_runtime.drawings import Drawing
from heliograph_runtime.engines.protocol import Picture


@dataclass(frozen=True)
class Progress:
    """The drawing at place `index` has done so many of its steps."""

    index: int
    done: int
    steps: int


@dataclass(frozen=True, eq=False)
class Preview:
    """The drawing at place `index`, unfinished; `number` counts its previews from 0."""

    index: int
    number: int
    picture: Picture


@dataclass(frozen=True, eq=False)
class Finished:
    """The drawing at place `index` is done and took `usage`; the last of its events."""

    index: int
    picture: Picture
    usage: Usage


DrawEvent = Progress | Preview | Finished


class EventStream:
    """The events of a request's drawings as an async iterator, which ends when all of them are done.

    What is read late is kept: each result and preview, and of the progress of a drawing what is latest. So a slow
    reader costs no more memory than its pictures do. The wait for the next event can be cancelled, by a timeout for
    one, and taken up again with nothing lost.

    It raises the `APIError` of the first drawing that fails, after the events before it.
    """

    def __init__(self, drawings: Sequence[Drawing]) -> None:
        """Listen to drawings that are not queued yet."""
        self._unfinished = len(drawings)
        self._previews = [0] * len(drawings)
        self._steps_done = [0] * len(drawings)
        self._pictures: deque[Preview | Finished] = deque()
        self._progress: dict[int, Progress] = {}
        self._error: BaseException | None = None
        self._changed = asyncio.Event()
        for index, drawing in enumerate(drawings):
            drawing.listener = partial(self._step, index)
            drawing.picture.add_done_callback(partial(self._end, index, drawing))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> DrawEvent:
        while True:
            if self._pictures:
                return self._pictures.popleft()
            if self._progress:
                return self._progress.pop(next(iter(self._progress)))
            if self._error:
                raise self._error
            if not self._unfinished:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()

    def _step(self, index: int, done: int, steps: int, preview: Picture | None) -> None:
        if done <= self._steps_done[index]:
            return  # the batch is drawn once more, in smaller parts or alone
        self._steps_done[index] = done
        self._progress[index] = Progress(index, done, steps)
        if preview:
            self._pictures.append(Preview(index, self._previews[index], preview))
            self._previews[index] += 1
        self._changed.set()

    def _end(self, index: int, drawing: Drawing, picture: asyncio.Future[Picture]) -> None:
        self._unfinished -= 1
        self._progress.pop(index, None)
        if not picture.cancelled():
            if error := picture.exception():
                self._error = self._error or error
            else:
                self._pictures.append(Finished(index, picture.result(), drawing.usage))
        self._changed.set()
