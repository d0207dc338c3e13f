"""Request bodies: read within bounds of size, time and rate, and kept in a file where they are large."""

import asyncio
import contextlib
import mmap
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import BinaryIO, TypeVar

from starlette.requests import Request

from heliograph_api.body import check_content_type
from heliograph_api.errors import APIError
from heliograph_gateway.cancelling import in_thread_to_its_end
from heliograph_gateway.record import record_of
from heliograph_gateway.settings import GatewaySettings

IN_MEMORY = 1024 * 1024
"""Bytes of one body that are kept in memory; a larger one goes into a file."""
_READ_AT_ONCE = 65_536
"""Bytes of a body that is read on the event loop; a longer one may hold pictures, which take time to decode."""
_PART_BYTES = 512 * 1024
_DRAINED = 4
"""A body up to this many times too large is still read, and dropped, so that its client gets to see the answer."""

_Result = TypeVar("_Result")


class Bodies:
    """Reads the bodies of requests, and keeps to what they may take together.

    Attributes:
        buffered: Bytes of them in memory.
        spooled: Bytes of them in files.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        """Take the bounds from the settings."""
        self.buffered = 0
        self.spooled = 0
        self._most = settings.max_body_bytes
        self._most_buffered = settings.max_buffered_bytes
        self._most_spooled = settings.max_spooled_bytes
        self._seconds = settings.body_seconds
        self._rate = settings.min_bytes_per_second
        # What is read out of a large body is larger than it: a picture in base64 is there several times for a while.
        self._large = asyncio.Semaphore(1)

    async def read(self, request: Request) -> "Body":
        """Return a request's body as it came; it is gone once the request is over.

        Args:
            request: The request; its body must not have been read.

        Raises:
            APIError: 408 for a client that stops sending or is too slow, 413 for a body that is too large, 415 for a
                content type that no body may have, and 503 when there is no room for it.
        """
        check_content_type(request.headers.get("content-type", ""))
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise APIError(415, "Send the body without Content-Encoding.", code="unsupported_content_encoding")
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > _DRAINED * self._most:
            raise self._too_large()
        body, size = Body(self), 0
        record_of(request.scope).cleanup.callback(body.close)
        async for part in self._parts(request):
            size += len(part)
            if size <= self._most:
                await body.append(part)
            else:
                body.close()
        if size > self._most:
            raise self._too_large()
        await body.end()
        return body

    async def understood(self, body: "Body", read: Callable[[bytes | mmap.mmap], _Result]) -> _Result:
        """Return what `read` makes of a body's content; a large one is read in a thread, one at a time."""
        async with self.alone(len(body)):
            return await _made_of(body, read, size=len(body))

    async def rewritten(
        self,
        request: Request,
        body: "Body",
        rewrite: Callable[[bytes | mmap.mmap], tuple[_Result, bytes]],
        *,
        beside: int = 0,
    ) -> tuple[_Result, "Body"]:
        """Return what `rewrite` makes of a body's content, and the new content, which is gone once the request is over.

        Args:
            request: The request, whose body it is.
            body: The body.
            rewrite: Called as by `understood`.
            beside: Bytes that the new content takes in beside the body, such as pictures that were fetched.
        """
        async with self.alone(len(body) + beside):
            made, content = await _made_of(body, rewrite, size=len(body) + beside)
            kept = Body(self)
            record_of(request.scope).cleanup.callback(kept.close)
            await kept.append(content)
            del content
            await kept.end()
        return made, kept

    def alone(self, size: int) -> AbstractAsyncContextManager[object]:
        """Return a block in which no other work on a large body is done, if so many bytes are many."""
        return self._large if size > IN_MEMORY else contextlib.nullcontext()

    async def _parts(self, request: Request) -> AsyncIterator[bytes]:
        """Yield what comes; raise `APIError` (408) once it comes too slowly, and end once it is far too much."""
        clock = asyncio.get_running_loop().time
        began, received = clock(), 0
        parts = aiter(request.stream())
        while received <= _DRAINED * self._most:
            # What was received buys time; the time that it took to be written away is the gateway's own.
            allowed = self._seconds + (received / self._rate if self._rate else float("inf"))
            left = min(self._seconds, allowed - (clock() - began))
            try:
                async with asyncio.timeout(left):
                    part = await anext(parts)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise APIError(
                    408,
                    "The request body did not come in time.",
                    code="request_timeout",
                    headers={"Connection": "close"},
                ) from None
            received += len(part)
            if part:
                yield part

    def reserve(self, *, buffered: int = 0, spooled: int = 0) -> None:
        """Take room; raise `APIError` (503) if there is none in files."""
        if spooled > 0 and self.spooled + spooled > self._most_spooled:
            raise APIError(
                503,
                "The gateway has as many large requests as it can keep; try again in 5 s.",
                code="overloaded",
                headers={"Retry-After": "5", "Connection": "close"},
            )
        self.buffered += buffered
        self.spooled += spooled

    def has_memory(self, size: int) -> bool:
        """Return whether so many bytes more may be kept in memory."""
        return self.buffered + size <= self._most_buffered

    def _too_large(self) -> APIError:
        # What is left of the body may be unread, so that the connection cannot be used again.
        return APIError(
            413,
            f"The request body is larger than {self._most} bytes; send less.",
            code="request_too_large",
            headers={"Connection": "close"},
        )


async def _made_of(body: "Body", read: Callable[[bytes | mmap.mmap], _Result], *, size: int) -> _Result:
    """Return what `read` makes of a body's content, in a thread where so many bytes take time."""
    return body.read_by(read) if size <= _READ_AT_ONCE else await in_thread_to_its_end(body.read_by, read)


class Body:
    """A request's body, in memory or in a file without a name."""

    def __init__(self, bodies: Bodies) -> None:
        """Begin with nothing, on the account of `bodies`."""
        self._bodies = bodies
        self._buffer = bytearray()
        self._file: BinaryIO | None = None
        self._spooled = 0

    def __len__(self) -> int:
        """Return its size in bytes."""
        return self._spooled + len(self._buffer)

    async def append(self, part: bytes) -> None:
        """Take the next part; raise `APIError` (503) if there is no room for it."""
        has_memory = self._bodies.has_memory(len(part))
        self._bodies.reserve(buffered=len(part))
        self._buffer += part
        if len(self._buffer) > IN_MEMORY or not has_memory:
            await self._spool()

    async def end(self) -> None:
        """Say that it is whole."""
        if self._file and self._buffer:
            await self._spool()

    def read_by(self, read: Callable[[bytes | mmap.mmap], _Result]) -> _Result:
        """Return what `read` makes of all of the body: of bytes, or of the file, mapped into memory meanwhile."""
        if self._file is None:
            return read(bytes(self._buffer))
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return read(content)

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield the body in parts; may be called several times."""
        if self._file:
            descriptor = self._file.fileno()
            for start in range(0, self._spooled, _PART_BYTES):
                yield await asyncio.to_thread(os.pread, descriptor, _PART_BYTES, start)
        if self._buffer:
            yield bytes(self._buffer)

    def close(self) -> None:
        """Give up what it takes."""
        self._bodies.reserve(buffered=-len(self._buffer), spooled=-self._spooled)
        self._buffer, self._spooled = bytearray(), 0
        if self._file:
            self._file.close()
            self._file = None

    async def _spool(self) -> None:
        """Move what is in memory into the file."""
        self._bodies.reserve(spooled=len(self._buffer))
        self._bodies.reserve(buffered=-len(self._buffer))
        buffer, self._buffer = self._buffer, bytearray()
        self._spooled += len(buffer)
        try:
            # A file must not be closed while a thread writes to it.
            await in_thread_to_its_end(self._write, buffer)
        except OSError as error:
            raise APIError(
                503,
                f"The gateway cannot keep so large a request: {error.strerror}.",
                code="overloaded",
                headers={"Retry-After": "30", "Connection": "close"},
            ) from error

    def _write(self, data: bytearray) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed with the body
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
