"""The child processes of `heliograph serve`, without any."""

import asyncio

import pytest

from heliograph.serve.process import ChildProcess


def test_who_is_cancelled_as_the_child_ends_does_not_go_on() -> None:
    async def scenario() -> None:
        child = ChildProcess(print)
        waiting = asyncio.create_task(child.wait(timeout=60))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        child.process_exited()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(scenario())
