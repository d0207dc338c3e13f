"""Clips as files; a module of its own, since only a model for clips has use for the 25 MB that PyAV takes."""

import io

import av

from heliograph_runtime.engines.protocol import Picture
from heliograph_runtime.images.encoding import to_image
from heliograph_runtime.images.sizes import Size

_BT709 = 1
_LIMITED_RANGE = 1
_X264 = {"crf": "18", "preset": "veryfast"}
"""Visually lossless; slower presets save a few per cent."""


def clip_size(picture: Picture) -> Size:
    """Return the sides of a clip's file: even numbers, which 4:2:0 asks for."""
    return picture.width // 2 * 2, picture.height // 2 * 2


def encode_clip(picture: Picture, *, fps: int) -> bytes:
    """Return a clip as MP4 that every browser plays while it loads: H.264, 4:2:0, the index before the frames."""
    width, height = clip_size(picture)
    # The index is made last; space for it is kept in front, since moving it there takes a file that can be read again.
    index_bytes = 4096 + 64 * picture.frames
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", options={"moov_size": str(index_bytes)}) as container:
        stream = container.add_stream("libx264", rate=fps, options=dict(_X264))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        codec = stream.codec_context
        codec.colorspace = codec.color_primaries = codec.color_trc = _BT709
        codec.color_range = _LIMITED_RANGE
        for number in range(picture.frames):
            image = to_image(picture, number).crop((0, 0, width, height))
            frame = av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call]  # PyAV's stub leaves it out
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()
