"""Clients of several languages and versions, driven alike: each is a process that does what it is told."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clients.installed import NODE, node_clients, python_clients

HERE = Path(__file__).resolve().parent
_ANSWER_SECONDS = 120.0


class ClientError(Exception):
    """What a client raised.

    Attributes:
        kind: Name of its class, which is the same in every language.
        status: HTTP status, if there was an answer.
        request_id: Id of the request as the client read it.
        message: Its message.
        type: OpenAI's type of the error.
        code: OpenAI's code of the error.
        param: Field at fault.
    """

    def __init__(self, described: Mapping[str, Any]) -> None:
        super().__init__(described)
        self.kind: str = described["kind"]
        self.status: int | None = described["status"]
        self.request_id: str | None = described["request_id"]
        self.message: str = described["message"]
        self.type: str | None = described["type"]
        self.code: str | None = described["code"]
        self.param: str | None = described["param"]


@dataclass(frozen=True)
class Driver:
    """A process that does with a client what it is told.

    Attributes:
        process: The process, which answers lines of JSON with lines of JSON.
    """

    process: subprocess.Popen[str]

    def ask(self, **asked: Any) -> dict[str, Any]:
        """Return the answer to one line; `error` in it describes what the client raised."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"{self.process.args!r} ended with status {self.process.wait(5)}"
        return dict(json.loads(answer))


@contextmanager
def driver(*command: str | Path, packages: Path | None = None) -> Iterator[Driver]:
    """Run a driver.

    Args:
        command: Program and arguments.
        packages: Folder of Python packages that go before the interpreter's own.
    """
    environment = os.environ | ({"PYTHONPATH": str(packages)} if packages else {})
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, encoding="utf-8"
    ) as process:
        yield Driver(process)
        assert process.stdin
        process.stdin.close()
        assert process.wait(30) == 0


@dataclass
class Client:
    """One of OpenAI's clients with its settings.

    Attributes:
        driver: What has the client.
        settings: `base_url`, `api_key`, `max_retries` and `timeout` in seconds.
        headers: Headers of the last answer.
    """

    driver: Driver
    settings: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)

    def call(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        """Return what a method such as `images.generate` returns, as JSON; raise `ClientError` where it raises."""
        answer = self._ask(method, arguments, keywords)
        if "error" in answer:
            raise ClientError(answer["error"])
        self.headers = answer["headers"]
        return answer["value"]

    def stream(self, method: str, **keywords: Any) -> tuple[list[dict[str, Any]], ClientError | None]:
        """Return the events that a method gives when it streams, and what was raised amid them; raise as `call`."""
        answer = self._ask(method, (), {**keywords, "stream": True})
        error = ClientError(answer["error"]) if "error" in answer else None
        if error and "events" not in answer:
            raise error
        return answer["events"], error

    def _ask(self, method: str, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
        return self.driver.ask(client=self.settings, call=method, arguments=arguments, keywords=keywords)


@dataclass(frozen=True)
class SDK:
    """OpenAI's client library in one language and version.

    Attributes:
        driver: What has it.
    """

    driver: Driver

    def at(self, url: str, *, api_key: str = "none", max_retries: int = 0) -> Client:
        """Return a client for a server's base URL."""
        settings = {"base_url": url, "api_key": api_key, "max_retries": max_retries, "timeout": _ANSWER_SECONDS}
        return Client(self.driver, settings)


SDKS: Mapping[str, Callable[[], AbstractContextManager[Driver]]] = {
    "python": lambda: driver(sys.executable, HERE / "openai_driver.py"),
    "python-previous": lambda: driver(sys.executable, HERE / "openai_driver.py", packages=python_clients()),
    "node": lambda: driver(NODE, HERE / "openai_driver.cjs", node_clients(), "openai-7"),
    "node-previous": lambda: driver(NODE, HERE / "openai_driver.cjs", node_clients(), "openai-6"),
}
"""The current and the previous major version of OpenAI's library for Python, and for Node."""


def stream_of(file: Path) -> dict[str, str]:
    """Return a file as an argument that the client reads while it sends it."""
    return {"$stream": str(file)}


def bytes_of(file: Path) -> dict[str, str]:
    """Return a file as an argument that is in memory."""
    return {"$bytes": str(file)}
