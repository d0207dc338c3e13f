"""What prompts mean: what a `|` splits off, and which picture a list of them is answered with.

Over diffusers alone: an engine never sees a `|` that splits, and FLUX.1 has no use for a negative prompt by itself.
"""

from typing import Any

import pytest

from contract.models import only_diffusers
from contract.stack import SMALL, Model
from runtime.runtimes import difference

pytestmark = only_diffusers

SEEDED: dict[str, Any] = {**SMALL, "seed": 3}


@pytest.mark.parametrize(
    ("prompt", "apart"),
    [
        ("a red shape|red", {"prompt": "a red shape", "negative_prompt": "red"}),
        (" a red shape | red ", {"prompt": "a red shape", "negative_prompt": "red"}),
        ("a red shape|red|blue", {"prompt": "a red shape", "negative_prompt": "red|blue"}),
        (r"a red \| blue shape|red", {"prompt": r"a red \| blue shape", "negative_prompt": "red"}),
        ("a red shape|", {"prompt": "a red shape"}),
    ],
)
def test_a_bar_splits_off_a_negative_prompt(plain: Model, prompt: str, apart: dict[str, str]) -> None:
    assert plain.file(**SEEDED, prompt=prompt) == plain.file(**SEEDED, **apart)
    assert plain.file(**SEEDED, prompt=prompt) != plain.file(**SEEDED, **{**apart, "negative_prompt": "a star"})


@pytest.mark.parametrize(
    ("prompt", "negative"),
    [("a red|blue shape", "star"), ("a {red|blue} shape", None), ("a [red|blue] shape", None)],
)
def test_a_bar_can_be_part_of_what_to_draw(plain: Model, prompt: str, negative: str | None) -> None:
    """Where a negative prompt is there beside it, and within brackets; `\\|` is what says so anywhere."""
    asked = {**SEEDED, "negative_prompt": negative}

    assert plain.file(**asked, prompt=prompt) == plain.file(**asked, prompt=prompt.replace("|", r"\|"))
    assert plain.file(**asked, prompt=prompt) != plain.file(**asked, prompt=prompt.partition("|")[0])


def test_a_model_may_take_a_bar_as_it_is(adapted: Model) -> None:
    piped = adapted.file(**SEEDED, prompt="a red shape|red")

    assert piped != adapted.file(**SEEDED, prompt="a red shape", negative_prompt="red")
    assert piped == adapted.file(**SEEDED, prompt="a red shape|red", negative_prompt="")


def test_each_prompt_of_a_list_is_drawn_n_times(plain: Model) -> None:
    prompts = ["a red circle", "a blue star|yellow"]

    answer = plain.answer(**SEEDED, prompt=prompts, n=2)
    together = plain.draw(**SEEDED, prompt=prompts, n=2)
    alone = [plain.draw_one(**SMALL, prompt=prompts[place // 2], seed=3 + place) for place in range(4)]

    assert [item["seed"] for item in answer["data"]] == [3, 4, 5, 6]
    assert max(map(difference, together, alone)) <= 1
    assert difference(alone[0], alone[2]) > 20
