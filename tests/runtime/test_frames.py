import asyncio
import socket
from threading import Thread

import pytest

from heliograph_runtime.engines.protocol import Batch, Sampling
from heliograph_runtime.worker.frames import FrameSocket, read_frame, write_frame
from heliograph_runtime.worker.messages import Cancel, Drawn, Generate, Message, Step, decode, encode

SAMPLING = Sampling(width=64, height=64, steps=4, guidance_scale=4.0, sampler=None, clip_skip=None)
ORDER = Generate(7, Batch(SAMPLING, ("a cat ☼", "a dog"), ("", "x"), (0, 2**32 - 1)))


@pytest.mark.parametrize("message", [ORDER, Cancel(7), Step(7, 1, 4), Drawn(7, [(8, 16)])])
def test_a_message_is_the_same_after_the_journey(message: Message) -> None:
    assert decode(encode(message)) == message


@pytest.mark.parametrize("text", [b"", b"{}", b'{"type": "load"}', b'{"type": "run"}', b"\x80\x04"])
def test_what_is_no_message_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        decode(text)


def test_both_ends_understand_each_other() -> None:
    """The worker's end answers each order with its bytes; a large answer does not fit into the socket's buffer."""
    pixels = bytes(range(256)) * 4096
    ours, theirs = socket.socketpair()

    def work() -> None:
        frames = FrameSocket(theirs)
        while isinstance(order := frames.read(), Generate):
            frames.write(Step(order.job, 1, 4))
            frames.write(Drawn(order.job, [(1, 2)]), pixels, pixels)
        theirs.close()

    async def talk() -> list[tuple[Message, bytes]]:
        reader, writer = await asyncio.open_connection(sock=ours)
        await write_frame(writer, ORDER)
        answers = [await read_frame(reader), await read_frame(reader)]
        writer.write_eof()
        with pytest.raises(EOFError):
            await read_frame(reader)
        writer.close()
        return answers

    worker = Thread(target=work)
    worker.start()
    answers = asyncio.run(asyncio.wait_for(talk(), timeout=30))
    worker.join(timeout=30)

    assert answers == [(Step(7, 1, 4), b""), (Drawn(7, [(1, 2)]), pixels + pixels)]
    assert not worker.is_alive()
