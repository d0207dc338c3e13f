"""Bounded waiting for what another process brings about."""

import ssl
import time
from collections.abc import Callable
from typing import TypeVar

import httpx

T = TypeVar("T")
_PAUSE = 0.05


def eventually(check: Callable[[], T | None], *, what: str, timeout: float = 30.0) -> T:
    """Call `check` until it answers something true, and return that.

    Args:
        check: Answers false, empty or None as long as the thing is not there.
        what: The thing waited for, as the error should name it.
        timeout: Seconds.

    Raises:
        TimeoutError: When it did not come about in time; the message holds `what` and the last answer.
    """
    deadline = time.monotonic() + timeout
    while not (answer := check()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} within {timeout:g} s; the last answer was {answer!r}")
        time.sleep(_PAUSE)
    return answer


def is_answered(url: str, *, trusted: ssl.SSLContext | bool = True) -> bool:
    """Return whether a server answers a GET with success; one that does not listen yet is no error."""
    try:
        return httpx.get(url, timeout=5, trust_env=False, verify=trusted).is_success
    except httpx.TransportError:
        return False
