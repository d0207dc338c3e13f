"""Reading off a runtime's answer what it used, on the answer's way."""

from collections.abc import AsyncIterator, Callable, Mapping

from heliograph_api.images.streams import CONTENT_TYPE
from heliograph_api.usage import COMMENT_START, LONGEST_TEXT, USAGE_HEADER, Usage, parse_comment, parse_usage
from heliograph_gateway.events import END

_LONGEST = len(COMMENT_START) + LONGEST_TEXT + len(END)

Note = Callable[[Usage], None]
"""Takes the usage of one answer so far; the last call counts."""


def read_usage(headers: Mapping[str, str], parts: AsyncIterator[bytes], note: Note) -> AsyncIterator[bytes]:
    """Return the body of an answer as its client gets it, and note the usage that the answer tells.

    What a runtime tells in another way than agreed, or out of bounds, is no usage.

    Args:
        headers: The answer's headers.
        parts: Its body as it comes.
        note: Called with the usage.
    """
    if headers.get("content-type", "").startswith(CONTENT_TYPE):
        return _without_comments(parts, note)
    if usage := parse_usage(headers.get(USAGE_HEADER, "")):
        note(usage)
    return parts


async def _without_comments(parts: AsyncIterator[bytes], note: Note) -> AsyncIterator[bytes]:
    """Yield a body of events without the comments of usage, each part no later than it must be."""
    held, at_start = b"", True
    async for part in parts:
        passed, held, at_start = _taken(held + part, at_start, note)
        if passed:
            yield passed
    if held:
        yield held


def _taken(content: bytes, at_start: bool, note: Note) -> tuple[bytes, bytes, bool]:
    """Return what of a part passes, what is held back until more is known, and whether that begins an event."""
    passed: list[bytes] = []
    start, size = 0, len(content)
    while start < size:
        if at_start:
            beginning = content[start : start + len(COMMENT_START)]
            if COMMENT_START.startswith(beginning) and len(beginning) < len(COMMENT_START):
                break
            if beginning == COMMENT_START:
                end = content.find(END, start, start + _LONGEST)
                if end >= 0:
                    if usage := parse_comment(content[start:end]):
                        note(usage)
                    start = end + len(END)
                    continue
                if size - start < _LONGEST:
                    break
            at_start = False
        end = content.find(END, start)
        if end < 0:
            # The other half of what ends the event may be still to come.
            end = size - 1 if content.endswith(b"\n") else size
            passed.append(content[start:end])
            start = end
            break
        passed.append(content[start : end + len(END)])
        start, at_start = end + len(END), True
    return b"".join(passed), content[start:], at_start
