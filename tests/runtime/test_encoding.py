import io
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from heliograph_api.images.request import OutputFormat
from heliograph_runtime.engines.protocol import Picture
from heliograph_runtime.images.clips import encode_clip
from heliograph_runtime.images.encoding import encode_picture, encode_preview
from runtime.picture_files import QUARTERS, noise, quarters

COLOURS = [(220, 30, 30), (30, 160, 50), (30, 70, 220), (250, 220, 30), (250, 250, 250), (15, 15, 15)]


def picture(image: Image.Image) -> Picture:
    return Picture(image.width, image.height, image.tobytes())


def clip(width: int, height: int) -> Picture:
    """A clip with one frame of each colour."""
    frames = [Image.new("RGB", (width, height), colour).tobytes() for colour in COLOURS]
    return Picture(width, height, b"".join(frames), frames=len(frames))


def test_png_loses_nothing() -> None:
    image = noise()

    for compression in (None, 0, 100):
        decoded = Image.open(io.BytesIO(encode_picture(picture(image), "png", compression=compression)))
        assert decoded.tobytes() == image.tobytes()


@pytest.mark.parametrize("output_format", ["jpeg", "webp"])
def test_compression_is_the_quality(output_format: OutputFormat) -> None:
    image = picture(noise())
    sizes = [len(encode_picture(image, output_format, compression=quality)) for quality in (0, 30, 60, 95, 100)]

    assert sizes == sorted(set(sizes))
    assert len(encode_picture(image, output_format)) == sizes[3]


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_files_hold_the_picture_and_nothing_else(output_format: OutputFormat) -> None:
    decoded = Image.open(io.BytesIO(encode_picture(picture(quarters()), output_format)))

    assert decoded.format == output_format.upper()
    for place, colour in QUARTERS.items():
        found = decoded.convert("RGB").getpixel(place)
        assert isinstance(found, tuple)
        assert max(abs(a - b) for a, b in zip(found, colour, strict=True)) <= 8
    assert not {"exif", "xmp", "icc_profile", "comment", "parameters"} & set(decoded.info)


def test_previews_are_small() -> None:
    image = noise().resize((2048, 1024))

    preview = Image.open(io.BytesIO(encode_preview(picture(image), "jpeg")))

    assert preview.size == (512, 256)
    assert Image.open(io.BytesIO(encode_preview(picture(quarters()), "png"))).size == (64, 64)


@pytest.mark.parametrize(("fps", "size"), [(8, (64, 48)), (24, (64, 48)), (60, (16, 16)), (1, (33, 17))])
def test_clips_play_in_every_browser(fps: int, size: tuple[int, int]) -> None:
    file = encode_clip(clip(*size), fps=fps)

    with av.open(io.BytesIO(file), "r") as container:
        (stream,) = container.streams
        assert isinstance(stream, av.VideoStream)
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (size[0] // 2 * 2, size[1] // 2 * 2)
        assert stream.average_rate == fps
        assert stream.frames == len(COLOURS)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert [_nearest(frame) for frame in frames] == COLOURS


def test_the_index_of_a_clip_comes_before_its_frames() -> None:
    """So that it plays while it loads; the space that is kept for it suffices for long clips too."""
    many = Picture(16, 16, noise().tobytes()[: 16 * 16 * 3] * 1024, frames=1024)

    for file in (encode_clip(clip(64, 48), fps=8), encode_clip(many, fps=24)):
        atoms = _atoms(file)
        assert atoms.index(b"moov") < atoms.index(b"mdat")
        assert len(file) < 120_000


def test_a_clip_of_one_frame() -> None:
    with av.open(io.BytesIO(encode_clip(picture(quarters()), fps=8)), "r") as container:
        assert len(list(container.decode(video=0))) == 1


def _nearest(frame: Any) -> tuple[int, ...]:
    mean = np.asarray(frame, float).mean(axis=(0, 1))
    nearest = min(COLOURS, key=lambda colour: np.abs(np.array(colour) - mean).max())
    assert np.abs(np.array(nearest) - mean).max() < 6, mean
    return nearest


def _atoms(file: bytes) -> list[bytes]:
    found, position = [], 0
    while position < len(file):
        found.append(file[position + 4 : position + 8])
        position += int.from_bytes(file[position : position + 4], "big")
    return found
