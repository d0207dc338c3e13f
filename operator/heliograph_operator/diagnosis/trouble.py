"""One trouble, ready to be told."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from heliograph_operator.diagnosis.reasons import CAUSES

_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{4,}\b")
_OWN_PORT = re.compile(r":\d+(?=->)")
"""The port that a connection was made from."""
_URL = re.compile(r"(?P<scheme>\w+://)(?:[^\s/@?]*@)?(?P<place>[^\s?]*)(?:\?\S*)?")
"""A URL, with what opens the place to whoever knows it: a user with a password, and the query of a signed URL."""
_MAX_QUOTE = 600
_SEVERITY = {reason: place for place, reason in enumerate(CAUSES)}


class Trouble(NamedTuple):
    """What is wrong.

    Attributes:
        reason: One of `reasons.CAUSES`.
        message: What is wrong and what to do, in one line that stays the same for as long as the trouble does.
    """

    reason: str
    message: str


def trouble(reason: str, problem: str) -> Trouble:
    """Return a trouble whose message is the problem and the remedy of its reason."""
    return Trouble(reason, f"{problem}: {CAUSES[reason].remedy}.")


def worst(troubles: Iterable[Trouble]) -> Trouble | None:
    """Return the trouble that stands first in the order of severity; of equals, the first one."""
    return min(troubles, key=lambda found: _SEVERITY[found.reason], default=None)


def quote(text: str) -> str:
    """Return a program's words as one line of bounded length, without secrets and what differs at each attempt."""
    line = " ".join(_ADDRESS.sub("0x…", _OWN_PORT.sub("", _URL.sub(r"\g<scheme>\g<place>", text))).split())
    return line if len(line) <= _MAX_QUOTE else f"{line[: _MAX_QUOTE - 1]}…"
