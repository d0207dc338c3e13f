"""Vercel's AI SDK against the whole stack, with both of its providers."""

from collections.abc import Iterator
from typing import Any

import pytest

from clients.driven import HERE, Driver, driver
from clients.images import opened
from clients.installed import NODE, node_clients
from clients.stack import Stack


@pytest.fixture(scope="module")
def ai_sdk() -> Iterator[Driver]:
    """A process that has the AI SDK."""
    with driver(NODE, HERE / "ai_sdk_driver.mjs", node_clients()) as started:
        yield started


def drawn(answer: dict[str, Any]) -> list[tuple[str, tuple[int, int]]]:
    """Return media type and size of each picture."""
    assert "error" not in answer, answer
    return [(image["mediaType"], opened(image["base64"]).size) for image in answer["images"]]


ASKED = pytest.mark.parametrize(
    ("provider", "model"),
    [("compatible", "sd"), ("openai", "sd"), ("openai", "gpt-image-1"), ("compatible", "dall-e-3")],
)


@ASKED
def test_generations(ai_sdk: Driver, stack: Stack, provider: str, model: str) -> None:
    options = {"text": "a red circle", "n": 2, "size": "64x64", "providerOptions": {"heliograph": {"steps": 2}}}
    answer = ai_sdk.ask(provider=provider, url=f"{stack.url}/v1", model=model, options=options)
    assert drawn(answer) == [("image/png", (64, 64))] * 2


@ASKED
def test_edits(ai_sdk: Driver, stack: Stack, picture: str, provider: str, model: str) -> None:
    options = {"text": "a red circle", "images": [picture], "size": "64x64"}
    for asked in (options, options | {"mask": picture}):
        answer = ai_sdk.ask(provider=provider, url=f"{stack.url}/v1", model=model, options=asked)
        assert drawn(answer) == [("image/png", (64, 64))]


def test_errors_keep_their_message(ai_sdk: Driver, stack: Stack) -> None:
    options = {"text": "a red circle", "size": "1x1"}
    for provider in ("openai", "compatible"):
        error = ai_sdk.ask(provider=provider, url=f"{stack.url}/v1", model="sd", options=options)["error"]
        assert (error["kind"], error["status"]) == ("AI_APICallError", 400)
        assert error["message"].startswith("size: ")
