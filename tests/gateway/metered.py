"""A gateway with API keys whose usage is looked at."""

import json
import time
from pathlib import Path
from typing import Any

import httpx

from gateway.running import Gateway
from heliograph_api.usage import Usage
from heliograph_gateway.keys.document import digest_of

ALICE, BOB, ADMIN = "the-key-of-alice", "the-key-of-bob", "the-key-of-the-administrator"
DAY = 86_400


def write_keys(path: Path) -> Path:
    """Write a document of the keys of alice, bob and root, who alone is an administrator."""
    keys = [
        {"name": "alice", "sha256": digest_of(ALICE), "scopes": ["models"]},
        {"name": "bob", "sha256": digest_of(BOB), "scopes": ["models"]},
        {"name": "root", "sha256": digest_of(ADMIN), "scopes": ["models", "admin"]},
    ]
    path.write_text(json.dumps({"keys": keys}))
    return path


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def post(gateway: Gateway, key: str = ALICE, path: str = "/v1/images/generations", **body: Any) -> httpx.Response:
    """Ask for a picture with a key."""
    return gateway.client.post(path, json={"model": "tiny", "prompt": "a circle", **body}, headers=bearer(key))


def ask_usage(gateway: Gateway, key: str = ADMIN, **query: Any) -> httpx.Response:
    """Ask for the usage of today and yesterday."""
    start = int(time.time()) // DAY * DAY - DAY
    return gateway.client.get("/v1/usage", params={"start_time": start, **query}, headers=bearer(key))


def recorded(gateway: Gateway) -> dict[str, tuple[int, Usage]]:
    """Return the number of requests and what they used, by name of the key."""
    found: dict[str, tuple[int, Usage]] = {}
    for bucket in ask_usage(gateway, group_by="key").raise_for_status().json()["data"]:
        for result in bucket["results"]:
            used = Usage(*(result[name] for name in ("images", "pixels", "steps", "seconds", "gpu_seconds")))
            requests, former = found.get(result["key"], (0, Usage()))
            found[result["key"]] = (requests + result["num_requests"], former + used)
    return found
