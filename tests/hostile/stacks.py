"""A gateway with a runtime behind it, as the hostile tests look at it."""

import base64
import io
import os
from dataclasses import dataclass

import httpx
import psutil
from PIL import Image

from hostile.exchanges import GENERATIONS
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

    def draw(self) -> Image.Image:
        """Return a picture, the same each time."""
        asked = {"prompt": "a red circle on a white background", "steps": 20, "seed": 1, "response_format": "b64_json"}
        answer = self.client.post(GENERATIONS, json={**asked, "size": "64x64"})
        assert answer.status_code == 200, answer.text
        return Image.open(io.BytesIO(base64.b64decode(answer.json()["data"][0]["b64_json"])))
