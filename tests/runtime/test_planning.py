from dataclasses import replace

import pytest

from heliograph_api.defaults import GenerationDefaults
from heliograph_api.errors import APIError
from heliograph_runtime.engines.protocol import Capabilities
from runtime.capable import (
    ABLE,
    CHANGING,
    DISTILLED,
    FILMING,
    IMAGE,
    TEXT,
    UNABLE,
    UPSCALING,
    ask,
    check_refusal,
    plan,
)


def test_each_picture_has_its_prompt_and_its_seed() -> None:
    planned = plan(ask(prompts=("a cat", "a dog"), negative_prompts=("red", None), n=2, seed=2**32 - 2))

    assert [(it.prompt, it.negative_prompt, it.seed) for it in planned] == [
        ("a cat", "red", 2**32 - 2),
        ("a cat", "red", 2**32 - 1),
        ("a dog", None, 0),
        ("a dog", None, 1),
    ]
    assert len({it.sampling for it in planned}) == 1


@pytest.mark.parametrize(
    ("asked", "default", "seed"),
    [
        (None, None, 7),
        (None, 42, 42),
        (0, 42, 0),
        (5, None, 5),
        (-1, 42, 7),
        (2**64 - 1, None, 2**32 - 1),
    ],
)
def test_a_negative_seed_is_random_whatever_the_default(asked: int | None, default: int | None, seed: int) -> None:
    (planned,) = plan(ask(seed=asked), defaults=GenerationDefaults(seed=default))

    assert planned.seed == seed


def test_the_models_negative_prompt_applies_where_the_request_has_none() -> None:
    planned = plan(
        ask(prompts=("a cat", "a dog"), negative_prompts=("red", None)),
        defaults=GenerationDefaults(negative_prompt="blue"),
    )

    assert [it.negative_prompt for it in planned] == ["red", "blue"]


def test_without_negative_prompts_a_bar_splits_nothing_off() -> None:
    written = ask(prompts=("a cat | a dog", "50 %"))
    split = ask(prompts=("a cat", "50 %"), negative_prompts=("a dog", None))

    assert [it.prompt for it in plan(split, written=written)] == ["a cat", "50 %"]
    unsplit = plan(split, written=written, capabilities=UNABLE, defaults=GenerationDefaults(negative_prompt="blue"))
    assert [(it.prompt, it.negative_prompt) for it in unsplit] == [("a cat | a dog", None), ("50 %", None)]


def test_a_negative_prompt_that_the_pipeline_lacks_is_refused() -> None:
    with pytest.raises(APIError) as caught:
        plan(ask(negative_prompts=("red",)), capabilities=UNABLE)

    check_refusal(caught.value, param="negative_prompt", says="TextPipeline does not have it", code="unsupported")


def test_true_guidance_makes_a_negative_prompt_count() -> None:
    (planned,) = plan(ask(negative_prompts=("red",), true_cfg_scale=4.0), capabilities=DISTILLED)

    assert planned.negative_prompt == "red"
    with pytest.raises(APIError):
        plan(ask(negative_prompts=("red",), true_cfg_scale=1.0), capabilities=DISTILLED)


@pytest.mark.parametrize(
    ("operation", "capabilities"),
    [
        ("variation", ABLE),
        ("upscale", replace(ABLE, modes={"upscale": replace(UPSCALING, prompt=True)})),
        ("generate", FILMING),
        ("edit", FILMING),
    ],
)
def test_a_prompt_is_not_needed_where_nothing_reads_it(operation: str, capabilities: Capabilities) -> None:
    (planned,) = plan(ask(operation, prompts=("",), images=(IMAGE,)), capabilities=capabilities, picture=(64, 64))

    assert planned.prompt == ""


@pytest.mark.parametrize("operation", ["generate", "edit"])
def test_a_missing_prompt_is_refused(operation: str) -> None:
    with pytest.raises(APIError) as caught:
        plan(ask(operation, prompts=(" ",), images=(IMAGE,)))

    check_refusal(caught.value, param="prompt", says="is required", code="missing_required_parameter")


def test_lora_weights_come_from_the_request_and_from_each_prompt() -> None:
    planned = plan(
        ask(prompts=("a cat <lora:detail:0.5>", "a dog", "a <lora:1:2> cow"), loras=(("style.safetensors", 0.8),))
    )

    assert [it.prompt for it in planned] == ["a cat", "a dog", "a cow"]
    assert [it.sampling.loras for it in planned] == [(0.8, 0.5), (0.8, 0.0), (0.8, 2.0)]


def test_without_lora_weights_those_of_the_spec_apply() -> None:
    assert plan()[0].sampling.loras is None
    assert plan(ask(loras=(("style", 0.0),)))[0].sampling.loras == (0.0, 0.0)


def test_weights_of_one_adapter_add_up() -> None:
    (planned,) = plan(ask(prompts=("a cat <lora:style:1><lora:0:-0.25>",), loras=(("style", 0.5),)))

    assert planned.sampling.loras == (1.25, 0.0)


@pytest.mark.parametrize("identifier", ["Style", "2", "-1", "../style", "style.bin"])
def test_an_unknown_adapter_is_refused_with_the_names_that_there_are(identifier: str) -> None:
    with pytest.raises(APIError) as caught:
        plan(ask(loras=((identifier, 1.0),)))
    check_refusal(caught.value, param="loras", says="name one of style, detail")

    with pytest.raises(APIError) as caught:
        plan(ask(prompts=(f"a cat <lora:{identifier}>",)))
    check_refusal(caught.value, param="prompt", says="name one of style, detail")


def test_an_adapter_of_a_model_without_any_is_refused() -> None:
    with pytest.raises(APIError) as caught:
        plan(ask(loras=(("0", 1.0),)), capabilities=UNABLE)

    check_refusal(caught.value, param="loras", says="it has none")


def test_a_transparent_picture_is_drawn_anew_there() -> None:
    request = ask("edit", images=(IMAGE,))

    assert plan(request)[0].sampling.mode == "image"
    assert plan(request, transparent=True)[0].sampling.mode == "inpaint"
    text_and_image = replace(ABLE, modes={"text": TEXT, "image": CHANGING})
    assert plan(request, transparent=True, capabilities=text_and_image)[0].sampling.mode == "image"
