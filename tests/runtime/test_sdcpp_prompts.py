"""Prompts with which stable-diffusion.cpp would end its process."""

import pytest

from heliograph_runtime.engines.protocol import RefusedError
from heliograph_runtime.engines.sdcpp.prompts import check_prompt


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "a cat",
        "(a cat:1.2)",
        "(a:1.2.3)",
        "(a:-.5)",
        "(a:+2.)",
        "(a:0)",
        "(a:0.000)",
        "(a: .)",
        "(a:.",
        "(a:-)",
        "x:.",
        "a" * 8000,
    ],
)
def test_what_the_library_can_read_passes(prompt: str) -> None:
    check_prompt(prompt, field="prompt")


@pytest.mark.parametrize(
    "prompt",
    [
        "(a:.)",
        "(a:..)",
        "(a:+.)",
        f"(a:{'9' * 39})",
        f"(a:0.{'0' * 45}1)",
        f"(a:{'9' * 400})",
        "b (a:1) (c:.) d",
    ],
)
def test_a_weight_that_is_no_number_is_refused(prompt: str) -> None:
    with pytest.raises(
        RefusedError, match=r"^negative_prompt: has a weight that is no number, '.{1,20}'; write one such"
    ):
        check_prompt(prompt, field="negative_prompt")


@pytest.mark.parametrize("prompt", ["a" * 8001, "\u732b" * 2667])
def test_a_prompt_that_needs_too_much_stack_is_refused(prompt: str) -> None:
    with pytest.raises(RefusedError, match="prompt: must have at most 8000 bytes as UTF-8 for this engine; shorten it"):
        check_prompt(prompt, field="prompt")
