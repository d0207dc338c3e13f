"""Gateways as processes of their own."""

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.leash import Leash

_TESTS = Path(__file__).resolve().parents[1]


@contextmanager
def leashed_gateway(
    folder: Path, *replicas: str, tiny: Mapping[str, Any] | None = None, **settings: object
) -> Iterator[str]:
    """A gateway in front of replicas, HOST:PORT each, as a process; the value is its URL.

    Args:
        folder: Where it keeps what it keeps, and its log.
        replicas: The replicas of the model `tiny`.
        tiny: The spec of that model.
        settings: Its settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "gateway.log"
    given = {"data_dir": folder / "data", "response_format": "b64_json", **settings}
    env = {key: value for key, value in os.environ.items() if not key.startswith("HELIOGRAPH_")}
    env |= {f"HELIOGRAPH_GATEWAY_{key.upper()}": str(value) for key, value in given.items()}
    env["PYTHONPATH"] = str(_TESTS)
    command = [sys.executable, "-m", "gateway.gateway_process", ",".join(replicas), json.dumps(dict(tiny or {}))]
    process = Leash(command, log=log, env=env)
    try:
        process.wait_until(lambda: _port(log) is not None, what="its port")
        yield f"http://127.0.0.1:{_port(log)}"
    finally:
        process.stop()


def _port(log: Path) -> int | None:
    found = re.search(r"^port (\d+)$", log.read_text(), re.MULTILINE)
    return int(found[1]) if found else None
