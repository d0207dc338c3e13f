"""A shell that runs documented commands against a stack."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clients.stack import Stack

_DOCUMENTED_SERVERS = ("http://localhost:8080", "http://localhost:10086", "http://your_gpustack_server_url")
_DOCUMENTED_PICTURES = ("https://raw.githubusercontent.com", "https://huggingface.co")
_COMMAND_SECONDS = 240.0


@dataclass(frozen=True)
class Shell:
    """A shell in a folder with the files that the documentation names.

    Attributes:
        stack: What answers in place of the documented servers.
        pictures: URL of what serves pictures in place of the documented hosts.
        folder: Where the shell stands, and its user is at home.
    """

    stack: Stack
    pictures: str
    folder: Path

    def run(self, command: str, *, errors: str = "") -> str:
        """Return what a command prints; with `errors`, which it says on standard error, it must fail, else succeed."""
        command = command.replace("/path/", f"{self.folder}/path/").replace(f"~{self.folder}", "~")
        for host in _DOCUMENTED_SERVERS:
            command = command.replace(host, self.stack.url)
        for host in _DOCUMENTED_PICTURES:
            command = command.replace(host, self.pictures)
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.folder,
            # A home of its own also keeps the user's .curlrc out.
            env={**os.environ, "HOME": str(self.folder), "CURL_HOME": str(self.folder), "no_proxy": "*"},
            capture_output=True,
            text=True,
            check=False,
            timeout=_COMMAND_SECONDS,
        )
        assert errors in done.stderr
        assert bool(done.returncode) == bool(errors), done.stderr
        return done.stdout


def chunks_of(stream: str) -> list[dict[str, Any]]:
    """Return the chunks of a stream, which must end as GPUStack documents it; comments keep its connection alive."""
    *lines, last = [line for line in stream.splitlines() if line and not line.startswith(":")]
    assert last == "data: [DONE]"
    assert all(line.startswith("data: ") for line in lines)
    return [json.loads(line.removeprefix("data: ")) for line in lines]
