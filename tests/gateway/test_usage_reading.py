import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph_api.usage import COMMENT_START, LONGEST_TEXT, USAGE_HEADER, Usage, usage_comment
from heliograph_gateway.usage.reading import read_usage

USED = Usage(images=1, pixels=4096, steps=4, seconds=0.5)
MORE = Usage(images=2, pixels=8192, steps=8, seconds=1.0)
EVENTS = {"content-type": "text/event-stream; charset=utf-8"}
PICTURE = b'event: x\ndata: {"b64_json": "AAAA"}\n\n'
STREAM = b": image 0 step 1/4\n\n" + usage_comment(USED) + PICTURE + usage_comment(MORE) + PICTURE
CLEAN = b": image 0 step 1/4\n\n" + PICTURE + PICTURE


def read(parts: Iterable[bytes], headers: Mapping[str, str] = EVENTS) -> tuple[bytes, list[Usage]]:
    noted: list[Usage] = []

    async def given_parts() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    async def collect() -> bytes:
        return b"".join([part async for part in read_usage(headers, given_parts(), noted.append)])

    return asyncio.run(collect()), noted


def test_comments_are_taken_wherever_the_stream_is_cut() -> None:
    for place in range(len(STREAM) + 1):
        assert read([STREAM[:place], STREAM[place:]]) == (CLEAN, [USED, MORE])
    assert read([STREAM[place : place + 1] for place in range(len(STREAM))]) == (CLEAN, [USED, MORE])


@given(st.lists(st.integers(0, len(STREAM)), max_size=6))
def test_comments_are_taken_in_any_parts(places: list[int]) -> None:
    cuts = [0, *sorted(places), len(STREAM)]
    parts = [STREAM[start:end] for start, end in pairwise(cuts)]
    assert read(parts) == (CLEAN, [USED, MORE])


@given(
    st.lists(st.sampled_from([b"\n", b"\n\n", COMMENT_START, b"data: x", b":", b" ", usage_comment(USED)]), max_size=12)
)
def test_the_parts_make_no_difference(blocks: list[bytes]) -> None:
    whole = b"".join(blocks)
    kept = [event for event in whole.split(b"\n\n") if not event.startswith(COMMENT_START)]
    assert read(blocks) == read([whole])
    if whole.endswith(b"\n\n") and b"\n\n\n" not in whole:
        assert read(blocks)[0] == b"\n\n".join(kept)


@pytest.mark.parametrize("text", [b"images=1", b"x" * 40, b"\xff" * 20, b""])
def test_a_comment_that_tells_no_usage_is_taken_too_but_not_counted(text: bytes) -> None:
    assert read([COMMENT_START + text + b"\n\n" + PICTURE]) == (PICTURE, [])


def test_a_comment_without_end_is_not_waited_for() -> None:
    endless = COMMENT_START + b"x" * (LONGEST_TEXT + 10)
    passed, noted = read([endless, b"y" * 100_000])
    assert (len(passed), noted) == (len(endless) + 100_000, [])


def test_what_is_cut_off_passes_as_it_is() -> None:
    assert read([PICTURE, b"event: hal"]) == (PICTURE + b"event: hal", [])
    assert read([PICTURE, COMMENT_START[:5]]) == (PICTURE + COMMENT_START[:5], [])


def test_the_header_counts_where_the_answer_is_whole() -> None:
    headers = {"content-type": "application/json", USAGE_HEADER: USED.text()}
    assert read([b"{", b"}"], headers) == (b"{}", [USED])
    assert read([STREAM], headers) == (STREAM, [USED])
    assert read([STREAM], {**EVENTS, USAGE_HEADER: USED.text()})[1] == [USED, MORE]
    assert read([b"{}"], {"content-type": "application/json", USAGE_HEADER: "images=99999999999999999"})[1] == []
    assert read([b"{}"], {"content-type": "application/json"}) == (b"{}", [])


def test_events_pass_without_delay() -> None:
    """What can be no comment of usage does not wait for what follows it."""
    taken: list[bytes] = []

    async def parts() -> AsyncIterator[bytes]:
        for part in (b": step 1\n\n", b"data: 1", b"2\n\n"):
            yield part
            assert b"".join(taken).endswith(part)

    async def collect() -> None:
        async for part in read_usage(EVENTS, parts(), lambda _: None):
            taken.append(part)  # noqa: PERF401 - the generator looks at it meanwhile

    asyncio.run(collect())
