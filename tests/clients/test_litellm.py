"""LiteLLM against the whole stack."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from clients.driven import HERE, Driver, driver
from clients.images import opened
from clients.installed import python_clients
from clients.stack import Stack


@pytest.fixture(scope="module")
def litellm() -> Iterator[Driver]:
    """A process that has LiteLLM."""
    with driver(sys.executable, HERE / "litellm_driver.py", packages=python_clients()) as started:
        yield started


@pytest.fixture
def asked(stack: Stack) -> dict[str, Any]:
    """What every request has."""
    known = {"prompt": "a red circle", "size": "64x64", "n": 1, "steps": 2, "seed": 7}
    return {"model": "openai/tiny", "api_base": f"{stack.url}/v1", "api_key": "none", "max_retries": 0, **known}


def test_a_generation(litellm: Driver, asked: dict[str, Any]) -> None:
    # It leaks headers into the body.
    answer = litellm.ask(call="image_generation", keywords={**asked, "extra_headers": {"x-team": "a"}})
    (entry,) = answer["value"]["data"]
    assert opened(entry["b64_json"]).size == (64, 64)
    assert answer["value"]["usage"]["total_tokens"] == 0


def test_a_generation_by_link(litellm: Driver, asked: dict[str, Any], stack: Stack) -> None:
    answer = litellm.ask(
        call="image_generation", keywords={**asked, "model": "openai/dall-e-3", "response_format": "url"}
    )
    (entry,) = answer["value"]["data"]
    assert entry["b64_json"] is None
    assert stack.download(entry["url"]).headers["content-type"] == "image/png"


@pytest.mark.parametrize("more", [{}, {"response_format": "b64_json"}])
def test_an_edit_whose_usage_is_checked_strictly(
    litellm: Driver, asked: dict[str, Any], picture: str, more: dict[str, str]
) -> None:
    answer = litellm.ask(call="image_edit", keywords={**asked, **more, "image": [picture]})
    (entry,) = answer["value"]["data"]
    assert opened(entry["b64_json"]).size == (64, 64)
    assert answer["value"]["usage"]["input_tokens_details"] == {"image_tokens": 0, "text_tokens": 0}


def test_an_edit_with_a_mask(litellm: Driver, asked: dict[str, Any], picture: str) -> None:
    answer = litellm.ask(call="image_edit", keywords={**asked, "image": [picture], "mask": [picture]})
    assert opened(answer["value"]["data"][0]["b64_json"]).size == (64, 64)


@pytest.mark.parametrize(
    ("wrong", "kind", "word"),
    [
        ({"model": "openai/other"}, "NotFoundError", "tiny"),
        ({"size": "1x"}, "BadRequestError", "size"),
    ],
)
def test_errors_keep_their_kind(
    litellm: Driver, asked: dict[str, Any], wrong: dict[str, str], kind: str, word: str
) -> None:
    error = litellm.ask(call="image_generation", keywords={**asked, **wrong})["error"]
    assert error["kind"] == kind
    assert word in error["message"]
