"""Chunks and weights, with the text encoder of the tiny model."""

from typing import Any

import pytest
import torch

from heliograph_runtime.engines.diffusers.clip import encode_clip, repeat_to_longest
from heliograph_runtime.engines.diffusers.weighting import parse_prompt
from heliograph_runtime.engines.protocol import RefusedError
from runtime.pipelines import load_pipeline

ROOM = 75
RED = 2
"""Place of the word in `a red circle`, after the token that begins the text."""


@pytest.fixture(scope="module")
def clip() -> tuple[Any, Any]:
    pipeline = load_pipeline()
    return pipeline.tokenizer, pipeline.text_encoder


@torch.no_grad()
def encode(clip: tuple[Any, Any], *prompts: str, layers_left_out: int = 0, final_norm: bool = True) -> torch.Tensor:
    tokenizer, encoder = clip
    embeddings, pooled = encode_clip(
        tokenizer,
        encoder,
        [parse_prompt(prompt) for prompt in prompts],
        layers_left_out=layers_left_out,
        final_norm=final_norm,
        device=torch.device("cpu"),
    )
    assert pooled.shape == (len(prompts), embeddings.shape[2])
    return embeddings


def chunks(clip: tuple[Any, Any], prompt: str) -> list[torch.Tensor]:
    return list(torch.split(encode(clip, prompt)[0], ROOM + 2))


def shares(weighted: torch.Tensor, plain: torch.Tensor) -> torch.Tensor:
    """By how much each token's embedding became longer."""
    longer: torch.Tensor = weighted[0].square().sum(dim=-1).sqrt() / plain[0].square().sum(dim=-1).sqrt()
    return longer


@pytest.mark.parametrize(
    ("words", "number"), [(0, 1), (1, 1), (75, 1), (76, 2), (150, 2), (151, 4), (300, 4), (301, 8), (2_500, 64)]
)
def test_a_prompt_is_cut_into_chunks(clip: tuple[Any, Any], words: int, number: int) -> None:
    assert encode(clip, "red " * words).shape == (1, number * 77, 96)


def test_a_prompt_of_too_many_chunks_is_refused(clip: tuple[Any, Any]) -> None:
    assert encode(clip, "red " * 4800).shape == (1, 64 * 77, 96)
    with pytest.raises(RefusedError, match="prompt: takes more than 64 chunks of 75 tokens"):
        encode(clip, "a", "red " * 4801)


def test_each_chunk_is_encoded_by_itself(clip: tuple[Any, Any]) -> None:
    first, second = chunks(clip, "red " * 75 + "circle blue")

    torch.testing.assert_close(first, encode(clip, "red " * 75)[0])
    torch.testing.assert_close(second, encode(clip, "circle blue")[0])


def test_a_section_begins_a_chunk(clip: tuple[Any, Any]) -> None:
    first, second = chunks(clip, "a red circle BREAK a (blue:1.5) star")

    torch.testing.assert_close(first, encode(clip, "a red circle")[0])
    torch.testing.assert_close(second, encode(clip, "a (blue:1.5) star")[0])


@pytest.mark.parametrize(("before", "cut"), [(70, 71), (55, 56), (54, 75)])
def test_a_chunk_ends_at_a_comma_near_its_end(clip: tuple[Any, Any], before: int, cut: int) -> None:
    words = ["red"] * before + [","] + ["blue"] * (80 - before)

    first, second = chunks(clip, " ".join(words))

    torch.testing.assert_close(first, encode(clip, " ".join(words[:cut]))[0])
    torch.testing.assert_close(second, encode(clip, " ".join(words[cut:]))[0])


def test_a_comma_long_ago_does_not_count_again(clip: tuple[Any, Any]) -> None:
    assert len(chunks(clip, "red , " + "blue " * 148)) == 2


def test_what_is_short_is_repeated(clip: tuple[Any, Any]) -> None:
    short, long = encode(clip, "a red circle", "red " * 80)
    first, second = torch.split(short, 77)

    assert torch.equal(first, second)
    torch.testing.assert_close(first, encode(clip, "a red circle")[0])
    assert not torch.equal(*torch.split(long, 77))


def test_embeddings_are_repeated_to_the_longest() -> None:
    parts = [torch.rand(2, 4 * number, 3) for number in (1, 4, 2)]

    repeated = repeat_to_longest(parts)

    assert [part.shape for part in repeated] == [(2, 16, 3)] * 3
    assert all(torch.equal(part[:, : len(old[0])], old) for part, old in zip(repeated, parts, strict=True))


@pytest.mark.parametrize("final_norm", [True, False])
def test_a_weight_lengthens_its_token_alone(clip: tuple[Any, Any], final_norm: bool) -> None:
    plain = encode(clip, "a red circle", final_norm=final_norm)
    others = torch.arange(77) != RED
    found = []
    for weight in (-1, 0, 0.5, 1.5, 2):
        weighted = encode(clip, f"a (red:{weight}) circle", final_norm=final_norm)
        longer = shares(weighted, plain)
        # What restores the magnitude is the same for all tokens, and near 1 since one token is a small part of them.
        rest = longer[others].mean()
        torch.testing.assert_close(longer[others], rest.expand(76))
        assert abs(rest - 1) < 0.02
        torch.testing.assert_close(weighted.abs().mean(), plain.abs().mean())
        torch.testing.assert_close(weighted[:, RED] / rest, plain[:, RED] * weight)
        found.append(float(longer[RED] / rest))

    assert found == pytest.approx([1, 0, 0.5, 1.5, 2], abs=1e-4)


def test_a_weight_counts_for_its_chunk_alone(clip: tuple[Any, Any]) -> None:
    plain, weighted = (chunks(clip, f"a {red} circle BREAK a blue star") for red in ("red", "(red:1.5)"))

    assert not torch.equal(weighted[0], plain[0])
    assert torch.equal(weighted[1], plain[1])


def test_a_weight_of_one_says_nothing(clip: tuple[Any, Any]) -> None:
    assert torch.equal(encode(clip, "a (red:1) circle"), encode(clip, "a red circle"))


def test_half_a_word_can_be_weighted(clip: tuple[Any, Any]) -> None:
    tokens = clip[0].tokenize("redx")
    assert tokens[-1] == "x</w>"
    last = RED + len(tokens) - 1

    longer = shares(encode(clip, "a red(x:2)"), encode(clip, "a redx"))

    assert longer[last] / longer[RED:last].mean() == pytest.approx(2)


def test_the_largest_weights_can_be_counted_with(clip: tuple[Any, Any]) -> None:
    embeddings = encode(clip, "(" + "red " * 75 + ":10)", "(" + "red " * 75 + ":-10)")

    assert embeddings.isfinite().all()
    assert embeddings.abs().max() < 20


def test_layers_can_be_left_out(clip: tuple[Any, Any]) -> None:
    found = [encode(clip, "a red circle", layers_left_out=number) for number in (0, 1, 2)]

    assert not torch.allclose(found[0], found[1])
    assert not torch.allclose(found[1], found[2])
