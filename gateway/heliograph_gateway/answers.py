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
    """

    def __init__(self, settings: GatewaySettings) -> None:
        """Take the bounds from the settings."""
        self.taken = 0
        self.most = settings.max_whole_answer_bytes
        self.most_together = settings.max_buffered_answer_bytes
        # Reading JSON takes its size again for a while.
        self.large = asyncio.Semaphore(1)

    def share(self) -> "Share":
        """Return the part of one answer, with nothing in it; whoever gets it closes it."""
        return Share(self)


class Share:
    """What one answer takes."""

    def __init__(self, account: WholeAnswers) -> None:
        """Begin with nothing, on the account of `account`."""
        self._account = account
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
                f"The model answered with more than the {account.most} bytes that can be changed on their way "
                "(max_whole_answer_bytes); ask for fewer or smaller pictures, or for b64_json.",
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
