import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph_api.usage import COMMENT_START, LONGEST_TEXT, Usage, parse_comment, parse_usage, usage_comment

SOME = Usage(images=1, pixels=65_536, steps=20, seconds=1.234, gpu_seconds=0.0)
TEXT = "images=1, pixels=65536, steps=20, seconds=1.234, gpu-seconds=0"


def test_the_text_is_the_one_that_both_sides_know() -> None:
    assert SOME.text() == TEXT
    assert usage_comment(SOME) == b": heliograph-usage " + TEXT.encode() + b"\n\n"


@given(
    st.builds(
        Usage,
        images=st.integers(0, 10**6),
        pixels=st.integers(0, 10**12),
        steps=st.integers(0, 10**9),
        seconds=st.integers(0, 10**12).map(lambda micros: micros / 10**6),
        gpu_seconds=st.integers(0, 10**12).map(lambda micros: micros / 10**6),
    )
)
def test_what_is_told_is_what_is_read(usage: Usage) -> None:
    read = parse_usage(usage.text())
    assert read is not None
    assert (read.images, read.pixels, read.steps) == (usage.images, usage.pixels, usage.steps)
    assert read.seconds == pytest.approx(usage.seconds, abs=1e-6)
    assert read.gpu_seconds == pytest.approx(usage.gpu_seconds, abs=1e-6)
    assert parse_comment(usage_comment(usage).removesuffix(b"\n\n")) == read
    assert len(usage.text()) <= LONGEST_TEXT


def test_usages_add_up() -> None:
    assert SOME + Usage(images=2, steps=5, gpu_seconds=3.0) == Usage(3, 65_536, 25, 1.234, 3.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "images=1",
        TEXT.replace(", ", ","),
        TEXT.replace("images=1, ", ""),
        f"{TEXT}, images=1",
        f"{TEXT}, {TEXT}",
        TEXT.replace("images", "pictures"),
        TEXT.replace("images=1", "images=-1"),
        TEXT.replace("images=1", "images=1.5"),
        TEXT.replace("images=1", "images=\uff11"),
        TEXT.replace("images=1", "images=" + "9" * 13),
        TEXT.replace("images=1", "images=1_0"),
        TEXT.replace("images=1", "images= 1"),
        TEXT.replace("seconds=1.234", "seconds=nan"),
        TEXT.replace("seconds=1.234", "seconds=inf"),
        TEXT.replace("seconds=1.234", "seconds=1e9"),
        TEXT.replace("seconds=1.234", "seconds=99999999"),
        TEXT.replace("seconds=1.234", "seconds=-1"),
        TEXT.replace("gpu-seconds=0", "gpu-seconds="),
        f"{TEXT}\n",
        "=" * 10_000,
        ", " * 100,
    ],
)
def test_anything_else_is_no_usage(text: str) -> None:
    assert parse_usage(text) is None
    assert parse_comment(COMMENT_START + text.encode()) is None


@given(st.binary(max_size=300))
def test_no_bytes_of_a_runtime_raise(content: bytes) -> None:
    assert parse_comment(content) is None
    parse_comment(COMMENT_START + content)
    parse_usage(content.decode("latin-1"))
