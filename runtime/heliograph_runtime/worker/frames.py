"""Messages on a stream: a head of lengths, the message as JSON, then the pixels of its pictures, part by part."""

import asyncio
import socket
import struct
from typing import BinaryIO

from heliograph_runtime.worker.messages import Message, decode, encode

_HEAD = struct.Struct("!II")
"""Length of the JSON and number of the parts behind it, in network order; the length of each part follows."""


class FrameSocket:
    """The worker's end, with blocking reads and writes; each side of it is for one thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader: BinaryIO = connection.makefile("rb")

    def read(self) -> Message | None:
        """Return the next message, or None when the other end has closed."""
        try:
            length, count = _HEAD.unpack(self._exactly(_HEAD.size))
            lengths = struct.unpack(f"!{count}Q", self._exactly(8 * count))
            return decode(self._exactly(length), [self._exactly(part) for part in lengths])
        except EOFError:
            return None

    def write(self, message: Message) -> None:
        """Send a message; raise `OSError` when the other end has closed."""
        for part in _frame(message):
            self._connection.sendall(part)

    def _exactly(self, length: int) -> bytes:
        data = self._reader.read(length)
        if len(data) < length:
            raise EOFError
        return data


async def read_frame(reader: asyncio.StreamReader) -> Message:
    """Return the next message; raise `EOFError` or `OSError` when the other end has closed."""
    length, count = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    lengths = struct.unpack(f"!{count}Q", await reader.readexactly(8 * count))
    text = await reader.readexactly(length)
    return decode(text, [await reader.readexactly(part) for part in lengths])


async def write_frame(writer: asyncio.StreamWriter, message: Message) -> None:
    """Send a message, whole even if others are sent meanwhile; raise `OSError` when the other end has closed."""
    for part in _frame(message):
        writer.write(part)
    await writer.drain()


def _frame(message: Message) -> list[bytes]:
    """Return the parts of a frame in their order; the pixels are not copied."""
    text, pixels = encode(message)
    lengths = struct.pack(f"!{len(pixels)}Q", *map(len, pixels))
    return [_HEAD.pack(len(text), len(pixels)) + lengths + text, *pixels]
