"""Pictures that go out as links: they are kept in the file store, and a runtime's answer is changed on the way."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.requests import Request

from heliograph_api.errors import APIError
from heliograph_api.images.answers import MEDIA_TYPES
from heliograph_api.images.stream_options import Dialect
from heliograph_api.images.streams import error_event
from heliograph_gateway.answers import Share
from heliograph_gateway.auth import owner_of
from heliograph_gateway.events import END, whole_events
from heliograph_gateway.files.links import Links
from heliograph_gateway.files.store import FileStore
from heliograph_gateway.forwarding import Passage, WholeAnswer, not_pictures

_DATA = b"data:"
_ERROR = b"event: error"
_READ_AT_ONCE = 65_536
"""Bytes of an event that is read on the event loop; a client chooses how large those with pictures are."""
_BESIDE = 512
"""Bytes that a piece of a picture takes beside its text, however short that is."""


class Linker:
    """Puts the pictures of one request's answer into the store."""

    def __init__(self, request: Request, files: FileStore, links: Links) -> None:
        self._request = request
        self._files = files
        self._links = links

    async def link(self, entry: dict[str, Any], *, media_type: str) -> None:
        """Give an entry of `data` the link to its picture."""
        content = await asyncio.to_thread(base64.b64decode, entry["b64_json"])
        stored = await self._files.put(
            content, media_type=entry.get("mime_type", media_type), owner=owner_of(self._request.scope)
        )
        entry["url"] = self._links.url(self._request, stored)


class LinkedAnswer(WholeAnswer):
    """A JSON answer whose pictures get links, beside the pictures themselves or in their place."""

    remedy = "ask for fewer or smaller pictures, for a shorter clip, or for b64_json"

    def __init__(self, linker: Linker, form: Literal["url", "both"]) -> None:
        self._linker = linker
        self._form = form

    async def _changed(self, answer: dict[str, Any]) -> dict[str, Any]:
        media_type = MEDIA_TYPES[answer["output_format"]]
        for entry in answer["data"]:
            try:
                await self._linker.link(entry, media_type=media_type)
            except APIError:
                # What cannot be kept is in the log. A picture that is there all the same is not lost for it.
                if self._form == "url":
                    raise
            if self._form == "url":
                del entry["b64_json"]
        return answer


class Events(Passage):
    """Server-sent events, passed on one by one; an error ends them as an event.

    Half an event is never passed on: what follows it would be read as its other half.
    """

    changes = True
    stream = True

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    async def pass_on(self, parts: AsyncIterator[bytes], share: Share) -> AsyncIterator[bytes]:
        """Yield the events."""
        async for events in whole_events(parts, share):
            self.failed = self.failed or any(event.startswith(_ERROR) for event in events)
            passed = [changed + END for event in events if (changed := await self._change(event, share)) is not None]
            if passed:
                yield b"".join(passed)

    def ending(self, error: APIError) -> bytes:
        """Return the event of an error."""
        return error_event(error, self._dialect)

    async def _change(self, event: bytes, share: Share) -> bytes | None:  # noqa: ARG002 - subclasses read it
        """Return what is passed on for an event; None for nothing. What is kept of it counts at `share`."""
        return event


@dataclass
class _Pieces:
    """What has come of a picture, and how many bytes that takes."""

    texts: list[str] = field(default_factory=list)
    size: int = 0


class LinkedChunks(Events):
    """GPUStack's chunks, where the last one of each picture gets a link in the picture's place."""

    def __init__(self, linker: Linker, *, media_type: str) -> None:
        super().__init__("image.chunk")
        self._linker = linker
        self._media_type = media_type
        self._pieces: dict[int, _Pieces] = {}

    async def _change(self, event: bytes, share: Share) -> bytes | None:
        try:
            return await self._linked(event, share)
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise not_pictures() from error

    async def _linked(self, event: bytes, share: Share) -> bytes | None:
        """Return an event with a link, or None for a piece of a picture, which is kept for the last one."""
        if not event.startswith(_DATA) or b'"b64_json"' not in event:
            return event
        text = event.removeprefix(_DATA)
        chunk = json.loads(text) if len(text) < _READ_AT_ONCE else await asyncio.to_thread(json.loads, text)
        (entry,) = chunk["data"]
        if entry["progress"] < 100:
            return event
        size = len(event) + _BESIDE
        share.take(size)
        pieces = self._pieces.setdefault(entry["index"], _Pieces())
        pieces.texts.append(entry["b64_json"])
        pieces.size += size
        if entry["finish_reason"] is None:
            return None
        del self._pieces[entry["index"]]
        entry["b64_json"] = "".join(pieces.texts)
        await self._linker.link(entry, media_type=self._media_type)
        del entry["b64_json"]
        share.give_back(pieces.size)
        return _DATA + b" " + json.dumps(chunk).encode()
