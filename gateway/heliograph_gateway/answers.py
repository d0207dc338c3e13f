"""Answers of runtimes that are in memory as a whole, and what they may take together."""

import asyncio
import contextlib
from contextlib import AbstractAsyncContextManager

from heliograph_api.errors import APIError
from heliograph_gateway.settings import GatewaySettings

_LARGE = 1024 * 1024


class WholeAnswers:
    """The account of all answers that are changed on their way, and so are kept until a part or all of them is there.

    Attributes:
        taken: Bytes of them in memory.
        most: How many bytes one answer may take.
        bound: The setting that says so.
        most_together: How many all of them may take.
        large: Held by whoever reads a large one.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        """Take the bounds from the settings."""
        self.taken = 0
        self.most_together = settings.max_buffered_answer_bytes
        # Whoever lowers the sum alone means each of them too: one that is larger would find no room however long a
        # client waits, and be drawn in vain each time.
        self.most = min(settings.max_whole_answer_bytes, self.most_together)
        self.bound = (
            "max_whole_answer_bytes" if self.most == settings.max_whole_answer_bytes else "max_buffered_answer_bytes"
        )
        # Reading JSON takes its size again for a while.
        self.large = asyncio.Semaphore(1)

    def share(self, *, remedy: str) -> "Share":
        """Return the part of one answer, with nothing in it; whoever gets it closes it.

        Args:
            remedy: What its client can do about one that is too large, such as `ask for smaller pictures`.
        """
        return Share(self, remedy)


class Share:
    """What one answer takes."""

    def __init__(self, account: WholeAnswers, remedy: str) -> None:
        """Begin with nothing, on the account of `account`."""
        self._account = account
        self._remedy = remedy
        self._taken = 0

    def take(self, size: int) -> None:
        """Count bytes that are kept from now on.

        Raises:
            APIError: 502, they are too many for one answer; 503, too many with those of others.
        """
        account = self._account
        if self._taken + size > account.most:
            raise APIError(
                502,
                f"The model answered with more than the {account.most} bytes that the gateway can keep of one answer "
                f"({account.bound}); {self._remedy}.",
                code="upstream_error",
                headers={"x-should-retry": "false"},
            )
        if account.taken + size > account.most_together:
            raise APIError(
                503,
                "The gateway has as many large answers as it can keep (max_buffered_answer_bytes); try again in 5 s.",
                code="overloaded",
                # It is drawn by now: a client that repeats the request by itself has it drawn again.
                headers={"Retry-After": "5", "x-should-retry": "false"},
            )
        self._taken += size
        account.taken += size

    def give_back(self, size: int) -> None:
        """Count bytes that are kept no longer."""
        self._taken -= size
        self._account.taken -= size

    def close(self) -> None:
        """Give back all that is left."""
        self.give_back(self._taken)

    def alone(self, size: int) -> AbstractAsyncContextManager[object]:
        """Return a block in which no other large answer is read, if so many bytes are many."""
        return self._account.large if size > _LARGE else contextlib.nullcontext()
