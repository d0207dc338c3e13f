import pytest

from heliograph_api.errors import APIError
from heliograph_api.prompt_tags import split_lora_tags


@pytest.mark.parametrize(
    ("text", "rest", "tags"),
    [
        ("a castle <lora:style:0.8>", "a castle", (("style", 0.8),)),
        ("a <lora:first:1> castle <lora:second:-0.5>", "a castle", (("first", 1.0), ("second", -0.5))),
        ("<lora:style>a castle", "a castle", (("style", 1.0),)),
        ("<lora: my style : .5 >", "", (("my style", 0.5),)),
        ("(a castle <lora:style:0.8>:1.2)", "(a castle :1.2)", (("style", 0.8),)),
        ("<lora:Style:1><lora:Style:2.>", "", (("Style", 1.0), ("Style", 2.0))),
        ("<lora:|high_noise|style:1>", "", (("|high_noise|style", 1.0),)),
    ],
)
def test_tags_are_taken_out(text: str, rest: str, tags: tuple[tuple[str, float], ...]) -> None:
    assert split_lora_tags(text) == (rest, tags)


@pytest.mark.parametrize(
    "text", ["", "  a  cat ", "a <b> cat", "a < lora:x:1>", "<lora:x:1", "<LORA:x:1>", "<lora:<b>"]
)
def test_a_prompt_without_tags_stays_as_it_is(text: str) -> None:
    assert split_lora_tags(text) == (text, ())


@pytest.mark.parametrize(
    "tag",
    [
        "<lora:>",
        "<lora::1>",
        "<lora:x:>",
        "<lora:x:much>",
        "<lora:x:1:2>",
        "<lora:x:11>",
        "<lora:x:nan>",
        "<lora:x:1e1>",
    ],
)
def test_a_tag_that_cannot_be_read_is_refused(tag: str) -> None:
    with pytest.raises(APIError) as caught:
        split_lora_tags(f"a cat {tag}")

    assert caught.value.status == 400
    assert caught.value.param == "prompt"
    assert "such as <lora:style:0.8>" in caught.value.message


def test_there_can_be_too_many_tags() -> None:
    assert len(split_lora_tags("<lora:x:1>" * 64)[1]) == 64
    with pytest.raises(APIError, match="at most 64 LoRA tags, not 65"):
        split_lora_tags("<lora:x:1>" * 65)
