import asyncio
import socket
from dataclasses import replace
from threading import Thread

import pytest

from heliograph_runtime.engines.protocol import Batch, Inputs, Picture, Raster, Sampling
from heliograph_runtime.worker.frames import FrameSocket, read_frame, write_frame
from heliograph_runtime.worker.messages import (
    Cancel,
    Drawn,
    Generate,
    GenerateFailed,
    Message,
    Refused,
    Step,
    Stopped,
    decode,
    encode,
)

SAMPLING = Sampling(mode="text", width=64, height=64, steps=4, guidance_scale=4.0, loras=(0.5, 1.0))
ORDER = Generate(7, Batch(SAMPLING, ("a cat ☼", "a dog"), ("", "x"), (0, 2**32 - 1), preview_steps=(1, 3)))
REFUSED = Refused(7, 0, "prompt", "is too long; shorten it.")
INPUTS = Inputs(
    images=(Raster(2, 1, 3, b"first!"), Raster(1, 1, 3, b"2nd")),
    mask=Raster(3, 1, 1, b"msk"),
    control=Raster(1, 2, 3, b"contrl"),
    last_image=Raster(1, 1, 3, b"end"),
)
LARGE = bytes(range(256)) * 4096


def with_inputs(inputs: Inputs) -> Generate:
    return replace(ORDER, batch=replace(ORDER.batch, inputs=inputs))


@pytest.mark.parametrize(
    "message", [ORDER, Cancel(7), Step(7, 1, 4), Stopped(7, 3), REFUSED, GenerateFailed(7, 3, "out_of_memory")]
)
def test_a_message_is_the_same_after_the_journey(message: Message) -> None:
    text, pixels = encode(message)

    assert not pixels
    assert decode(text) == message


def test_pixels_travel_behind_the_json() -> None:
    text, pixels = encode(with_inputs(INPUTS))
    arrived = decode(text, pixels)

    assert pixels == [b"first!", b"2nd", b"msk", b"contrl", b"end"]
    assert not any(part in text for part in pixels)
    assert isinstance(arrived, Generate)
    assert repr(arrived) == repr(with_inputs(INPUTS))


def test_inputs_may_be_few() -> None:
    text, pixels = encode(with_inputs(Inputs(images=INPUTS.images[:1])))
    arrived = decode(text, pixels)

    assert isinstance(arrived, Generate)
    assert repr(arrived.batch.inputs) == repr(Inputs(images=INPUTS.images[:1]))


@pytest.mark.parametrize("text", [b"", b"{}", b'{"type": "load"}', b'{"type": "run"}', b"\x80\x04"])
def test_what_is_no_message_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        decode(text)


def test_a_message_without_its_pixels_is_refused() -> None:
    text, pixels = encode(with_inputs(INPUTS))

    with pytest.raises(ValueError, match="more pictures than the 4 behind it"):
        decode(text, pixels[:4])


def test_both_ends_understand_each_other() -> None:
    """What is large does not fit into the socket's buffer, in either direction."""
    ours, theirs = socket.socketpair()

    def work() -> None:
        frames = FrameSocket(theirs)
        while isinstance(order := frames.read(), Generate):
            assert order.batch.inputs
            frames.write(Step(order.job, 1, 4, (Picture(1, 1, b"rgb"),)))
            given = order.batch.inputs.images[0].pixels
            frames.write(Drawn(order.job, 4, (Picture(4, 1, given[::-1]), Picture(1, 1, b"rgb", frames=2))))
        theirs.close()

    async def talk() -> list[Message]:
        reader, writer = await asyncio.open_connection(sock=ours)
        await write_frame(writer, with_inputs(replace(INPUTS, images=(Raster(1, 1, 3, LARGE),))))
        answers = [await read_frame(reader), await read_frame(reader)]
        writer.write_eof()
        with pytest.raises(EOFError):
            await read_frame(reader)
        writer.close()
        return answers

    worker = Thread(target=work)
    worker.start()
    step, drawn = asyncio.run(asyncio.wait_for(talk(), timeout=30))
    worker.join(timeout=30)

    assert repr(step) == repr(Step(7, 1, 4, (Picture(1, 1, b"rgb"),)))
    assert isinstance(drawn, Drawn)
    large, clip = drawn.pictures
    assert large.pixels == LARGE[::-1]
    assert (drawn.steps, clip.frames, clip.pixels) == (4, 2, b"rgb")
    assert not worker.is_alive()
