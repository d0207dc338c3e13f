"""A gateway with a runtime behind it, as the hostile tests look at it."""

import os
from dataclasses import dataclass

import httpx
import psutil

from runtime.runtimes import Runtime


@dataclass
class Stack:
    """What hostile requests go to.

    Attributes:
        url: The gateway's address.
        client: A client of the gateway, with the key.
        runtime: The runtime behind it.
    """

    url: str
    client: httpx.Client
    runtime: Runtime

    def processes(self) -> dict[str, psutil.Process]:
        """Return the processes by what they are; the gateway's is the tests' own."""
        return {
            "gateway": psutil.Process(os.getpid()),
            "runtime": psutil.Process(self.runtime.leash.pid),
            "worker": self.runtime.worker,
        }
