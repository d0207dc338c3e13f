"""Messages on a stream: a head of two lengths, the message as JSON, then raw bytes such as pixels."""

import asyncio
import socket
import struct
from typing import BinaryIO

from heliograph_runtime.worker.messages import Message, decode, encode

_HEAD = struct.Struct("!IQ")
"""Length of the JSON and of the bytes behind it, in network order."""


class FrameSocket:
    """The worker's end, with blocking reads and writes; each side of it is for one thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader: BinaryIO = connection.makefile("rb")

    def read(self) -> Message | None:
        """Return the next message, or None when the other end has closed; bytes behind it are dropped."""
        head = self._reader.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        length, payload = _HEAD.unpack(head)
        text = self._reader.read(length + payload)[:length]
        return decode(text) if len(text) == length else None

    def write(self, message: Message, *payload: bytes) -> None:
        """Send a message with bytes behind it; raise `OSError` when the other end has closed."""
        text = encode(message)
        self._connection.sendall(_HEAD.pack(len(text), sum(map(len, payload))) + text)
        for part in payload:
            self._connection.sendall(part)


async def read_frame(reader: asyncio.StreamReader) -> tuple[Message, bytes]:
    """Return the next message and the bytes behind it; raise `EOFError` or `OSError` when the other end has closed."""
    length, payload = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    return decode(await reader.readexactly(length)), await reader.readexactly(payload)


async def write_frame(writer: asyncio.StreamWriter, message: Message) -> None:
    """Send a message; raise `OSError` when the other end has closed."""
    text = encode(message)
    writer.write(_HEAD.pack(len(text), 0) + text)
    await writer.drain()
