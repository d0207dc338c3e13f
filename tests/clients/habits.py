"""What well-known clients send and what they read of the answer, each as its own code has it."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clients.stack import Stack

Pictures = list[bytes]
Read = Callable[[Stack, Mapping[str, Any]], Pictures]

PROMPT = "a red circle on a white background"
AZURE = {"params": {"api-version": "2024-10-21"}, "headers": {"api-key": "none"}}


def inline(stack: Stack, answer: Mapping[str, Any]) -> Pictures:
    """Read `b64_json` alone."""
    return [base64.b64decode(entry["b64_json"], validate=True) for entry in answer["data"]]


def linked(stack: Stack, answer: Mapping[str, Any]) -> Pictures:
    """Read `url` alone, and take the kind of file from its path."""
    assert all(entry["url"].partition("?")[0].endswith(".png") for entry in answer["data"])
    return [_downloaded(stack, entry["url"]) for entry in answer["data"]]


def linked_first(stack: Stack, answer: Mapping[str, Any]) -> Pictures:
    """Read `url`, and `b64_json` where there is none."""
    return [
        _downloaded(stack, entry["url"]) if entry.get("url") else base64.b64decode(entry["b64_json"])
        for entry in answer["data"]
    ]


def inline_first(stack: Stack, answer: Mapping[str, Any]) -> Pictures:
    """Read `b64_json`, and `url` where there is none."""
    return [
        base64.b64decode(entry["b64_json"]) if entry.get("b64_json") else _downloaded(stack, entry["url"])
        for entry in answer["data"]
    ]


def everything(stack: Stack, answer: Mapping[str, Any]) -> Pictures:
    """Read every `url`, then every `b64_json`, so that an entry with both counts twice."""
    links = [_downloaded(stack, entry["url"]) for entry in answer["data"] if "url" in entry]
    return links + [base64.b64decode(entry["b64_json"]) for entry in answer["data"] if "b64_json" in entry]


def _downloaded(stack: Stack, url: str) -> bytes:
    answer = stack.download(url)
    assert answer.headers["content-type"].startswith("image/")
    return answer.content


@dataclass(frozen=True)
class Habit:
    """One request of one client.

    Attributes:
        client: The client.
        body: What it sends, as JSON, or as a form where there are files.
        reads: What it reads of the answer.
        size: Size of the pictures that it gets.
        files: Fields of a form that hold the picture to change.
        file_format: Format of the pictures that it gets.
        more: How the request differs from others apart from its body.
    """

    client: str
    body: Mapping[str, Any]
    reads: Read
    size: tuple[int, int]
    files: tuple[str, ...] = ()
    file_format: str = "PNG"
    more: Mapping[str, Any] = field(default_factory=dict)


GENERATIONS = [
    Habit(
        "Open WebUI",
        {"model": "sd", "prompt": PROMPT, "n": 2, "size": "512x512", "response_format": "b64_json", "steps": 4},
        linked_first,
        (512, 512),
        more=AZURE,
    ),
    Habit(
        "Open WebUI with a gpt-image model",
        {"model": "gpt-image-1", "prompt": PROMPT, "n": 1, "size": "1024x1024"},
        linked_first,
        (1024, 1024),
    ),
    Habit(
        "LibreChat's image tools",
        {
            "model": "gpt-image-1", "prompt": PROMPT, "n": 1, "background": "auto", "quality": "auto", "size": "auto",
            "output_format": "webp", "output_compression": 80,
        },
        inline,
        (256, 256),
        file_format="WEBP",
        more=AZURE,
    ),
    Habit(
        "LibreChat's DALL-E 3 tool",
        {"model": "dall-e-3", "quality": "standard", "style": "vivid", "size": "1792x1024", "prompt": PROMPT, "n": 1},
        linked,
        (1792, 1024),
    ),
    Habit(
        "LangChain's DallEAPIWrapper",
        {"model": "dall-e-3", "prompt": PROMPT, "n": 1, "size": "1024x1024"},
        linked,
        (1024, 1024),
    ),
    Habit(
        "n8n with a gpt-image model",
        {"prompt": PROMPT, "model": "gpt-image-1", "quality": "medium", "size": "1024x1024", "n": 1},
        inline,
        (1024, 1024),
    ),
    Habit(
        "n8n with a dall-e model",
        {
            "prompt": PROMPT, "model": "dall-e-3", "quality": "hd", "size": "1024x1024", "style": "natural",
            "response_format": "b64_json",
        },
        inline,
        (1024, 1024),
    ),
    Habit(
        "n8n that sends links on",
        {"prompt": PROMPT, "model": "dall-e-3", "size": "1024x1024", "response_format": "url"},
        linked,
        (1024, 1024),
    ),
    Habit("Dify", {"model": "gpt-image-1", "prompt": PROMPT, "n": 1, "quality": "low"}, inline, (256, 256)),
    Habit("AnythingLLM", {"model": "sd", "prompt": PROMPT, "size": "512x512", "n": 1}, inline_first, (512, 512)),
    Habit(
        "Nextcloud with a gpt-image model",
        {"prompt": PROMPT, "size": "512x512", "n": 2, "model": "gpt-image-1"},
        everything,
        (512, 512),
    ),
    Habit(
        "Nextcloud with a dall-e model",
        {"prompt": PROMPT, "size": "512x512", "n": 2, "model": "dall-e-3"},
        everything,
        (512, 512),
    ),
    Habit(
        "LobeHub",
        {
            "model": "sd", "prompt": PROMPT, "n": 1, "width": 512, "height": 256, "steps": 4, "cfg": 4.5, "seed": None,
            "aspectRatio": "2:1", "imageUrl": None, "imageUrls": [], "negativePrompt": "",
        },
        inline_first,
        (512, 256),
    ),
    Habit(
        "Home Assistant",
        {
            "model": "dall-e-3", "prompt": PROMPT, "size": "1024x1024", "quality": "standard", "style": "vivid",
            "response_format": "url", "n": 1,
        },
        linked,
        (1024, 1024),
    ),
    Habit(
        "GPUStack's page",
        {
            "model": "sd", "prompt": PROMPT, "n": 1, "size": "512x512", "seed": None, "style": None,
            "quality": "standard", "sample_method": "euler_a", "sampling_steps": 4, "schedule_method": "discrete",
            "cfg_scale": 4.5, "guidance": 3.5, "strength": 0.75, "negative_prompt": "", "preview": None,
            "stream": False,
        },
        inline,
        (512, 512),
    ),
]  # fmt: skip

EDITS = [
    Habit(
        "Open WebUI",
        {"model": "sd", "prompt": PROMPT, "n": 1, "size": "512x512", "response_format": "b64_json"},
        linked_first,
        (512, 512),
        files=("image",),
        more=AZURE,
    ),
    Habit(
        "Open WebUI with a gpt-image model",
        {"model": "gpt-image-1", "prompt": PROMPT, "background": "auto"},
        linked_first,
        (256, 256),
        files=("image[]",),
    ),
    Habit(
        "LibreChat's image tools",
        {"model": "gpt-image-1", "prompt": PROMPT, "quality": "auto", "size": "auto"},
        inline,
        (256, 256),
        files=("image[]",),
        more=AZURE,
    ),
    Habit(
        "n8n with a gpt-image model",
        {"model": "gpt-image-1", "prompt": PROMPT, "n": 1, "size": "512x512", "input_fidelity": "low"},
        inline,
        (512, 512),
        files=("image[]",),
    ),
    Habit(
        "Dify",
        {"model": "gpt-image-1", "prompt": PROMPT, "n": 1},
        inline,
        (256, 256),
        files=("image[]", "mask"),
    ),
    Habit(
        "AnythingLLM",
        {"model": "sd", "prompt": PROMPT, "size": "512x512", "n": 1},
        inline_first,
        (512, 512),
        files=("image",),
    ),
    Habit(
        "LobeHub",
        {"model": "sd", "prompt": PROMPT, "n": 1, "input_fidelity": "high", "steps": 4},
        inline_first,
        (256, 256),
        files=("image",),
    ),
    Habit(
        "GPUStack's page",
        {
            "model": "sd", "prompt": PROMPT, "n": 1, "size": "512x512", "seed": "null", "style": "null",
            "sample_method": "euler_a", "sampling_steps": 4, "schedule_method": "discrete", "cfg_scale": 4.5,
            "guidance": 3.5, "strength": 0.75, "negative_prompt": "", "preview": "null", "stream": "false",
        },
        inline,
        (512, 512),
        files=("image", "mask"),
    ),
]  # fmt: skip
