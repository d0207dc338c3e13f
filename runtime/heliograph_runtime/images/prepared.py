"""A request that is ready to be answered, and what of its answer does not depend on how that is sent."""

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from heliograph_api.images.answers import MEDIA_TYPES
from heliograph_api.images.request import ImageRequest
from heliograph_api.tracing import child_span
from heliograph_api.usage import Usage
from heliograph_runtime.drawings import Drawing
from heliograph_runtime.engines.protocol import Inputs, Picture
from heliograph_runtime.events import DrawEvent, Finished
from heliograph_runtime.images.encoding import encode_picture
from heliograph_runtime.images.masks import keep_outside
from heliograph_runtime.images.planning import PlannedPicture
from heliograph_runtime.service import Service
from heliograph_runtime.tracing import trace_drawings


@dataclass(frozen=True, eq=False)
class Prepared:
    """A request that is ready to be answered.

    Attributes:
        request: The checked request.
        planned: What is to be drawn.
        inputs: What it is drawn from.
        preview_steps: Steps, counted from 1, after which unfinished pictures are shown.
        enlarged: The answer itself, where nothing is to be drawn; else None.
    """

    request: ImageRequest
    planned: tuple[PlannedPicture, ...] = ()
    inputs: Inputs | None = None
    preview_steps: tuple[int, ...] = ()
    enlarged: Picture | None = None

    @property
    def count(self) -> int:
        """Return the number of pictures or clips in the answer."""
        return len(self.planned) or 1

    @property
    def size(self) -> str:
        """Return the planned size, WIDTHxHEIGHT."""
        about = self.enlarged or self.planned[0].sampling
        return f"{about.width}x{about.height}"

    @property
    def steps(self) -> int:
        """Return the steps that each of them takes."""
        return self.planned[0].sampling.steps_taken if self.planned else 0

    @property
    def file_format(self) -> str:
        """Return the format of the files, one of `MEDIA_TYPES`."""
        is_clip = self.planned and self.planned[0].sampling.frames is not None
        return "mp4" if is_clip else self.request.output_format

    @contextmanager
    def events(self, service: Service) -> Iterator[AsyncIterator[DrawEvent]]:
        """Have everything drawn and watch it; leaving the block cancels what is left.

        Raises:
            APIError: 429, the queue is full; others come out of the iterator.
        """
        if self.enlarged:
            yield _finished(self.enlarged)
            return
        drawings = [
            Drawing(
                sampling=picture.sampling,
                prompt=picture.prompt,
                negative_prompt=picture.negative_prompt,
                seed=picture.seed,
                inputs=self.inputs,
                preview_steps=self.preview_steps,
            )
            for picture in self.planned
        ]
        with service.draw_events(drawings) as events:
            trace_drawings(drawings)
            yield events

    async def encoded_entry(self, index: int, picture: Picture) -> dict[str, Any]:
        """Return the entry of `data` for a finished picture or clip."""
        with child_span("encode", {"heliograph.format": self.file_format, "heliograph.pixels": picture.area}):
            return await asyncio.to_thread(self.entry, index, picture)

    def entry(self, index: int, picture: Picture) -> dict[str, Any]:
        """Return the entry of `data` for a finished picture or clip; slow, so it belongs off the event loop."""
        if not self.planned:
            return {"b64_json": self._encoded(picture)}
        planned = self.planned[index]
        sampling = planned.sampling
        # sd-api-server documents the prompt.
        about = {"seed": planned.seed, "prompt": planned.prompt}
        if sampling.fps is not None:
            # PyAV is loaded for clips alone.
            from heliograph_runtime.images.clips import clip_size, encode_clip  # noqa: PLC0415

            clip = _base64(encode_clip(picture, fps=sampling.fps))
            width, height = clip_size(picture)
            length = {"size": f"{width}x{height}", "seconds": f"{picture.frames / sampling.fps:g}"}
            return {"b64_json": clip, "mime_type": MEDIA_TYPES["mp4"], **length, **about}
        whole = keep_outside(picture, self.inputs) if self.inputs else picture
        return {"b64_json": self._encoded(whole), **about}

    def _encoded(self, picture: Picture) -> str:
        request = self.request
        return _base64(encode_picture(picture, request.output_format, compression=request.output_compression))


async def _finished(picture: Picture) -> AsyncIterator[DrawEvent]:
    yield Finished(0, picture, Usage(images=1, pixels=picture.area))


def _base64(file: bytes) -> str:
    return base64.b64encode(file).decode("ascii")
