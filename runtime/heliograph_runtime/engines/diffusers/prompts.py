"""Prompts into what a pipeline's call takes: embeddings where its way to read prompts is known, else the text itself.

Stable Diffusion 1, 2 and XL get embeddings always, so that a prompt of any length has an effect to its end. Stable
Diffusion 3 and FLUX.1, whose T5 reads long prompts anyway, get them for prompts with weights.
"""

from collections.abc import Sequence
from inspect import signature
from typing import Any, Literal

import torch

from heliograph_runtime.engines.diffusers.arguments import call_parameters
from heliograph_runtime.engines.diffusers.clip import encode_clip, read_weights, repeat_to_longest
from heliograph_runtime.engines.diffusers.weighting import (
    Prompt,
    WeightedText,
    join_sections,
    literal_prompt,
    parse_prompt,
)

TextFamily = Literal["sd", "sdxl", "sd3", "flux"]

_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")


def text_family(pipeline: Any) -> TextFamily | None:
    """Return how a pipeline reads prompts, by its text encoders' classes; None for a way that is not known here."""
    parameters = call_parameters(pipeline)
    if not {"prompt", "prompt_embeds"} <= parameters.keys() or hasattr(pipeline, "prior_text_encoder"):
        return None
    skips = "clip_skip" in parameters
    match [type(getattr(pipeline, name, None)).__name__ for name in _ENCODERS]:
        case ["CLIPTextModel", "NoneType", "NoneType"] if skips:
            return "sd"
        case ["CLIPTextModel" | "NoneType", "CLIPTextModelWithProjection", "NoneType"] if skips:
            return "sdxl"
        case ["CLIPTextModelWithProjection", "CLIPTextModelWithProjection", "T5EncoderModel" | "NoneType"] if skips:
            return "sd3"
        case ["CLIPTextModel", "T5EncoderModel", "NoneType"] if "pooled_prompt_embeds" in parameters:
            return "flux"
    return None


def clip_parts(pipeline: Any) -> list[tuple[Any, Any]]:
    """Return tokenizer and text encoder of each CLIP of Stable Diffusion; XL's refiner has the second alone."""
    names = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))
    parts = [(getattr(pipeline, tokenizer, None), getattr(pipeline, encoder, None)) for tokenizer, encoder in names]
    return [part for part in parts if part[1] is not None]


@torch.no_grad()
def encode_prompts(
    pipeline: Any,
    prompts: Sequence[str],
    negative_prompts: Sequence[str] | None,
    *,
    clip_skip: int | None,
    weighting: bool,
    guided: bool = True,
    max_sequence_length: int | None = None,
) -> dict[str, Any]:
    """Return all keyword arguments of a pipeline's call that have to do with prompts, `clip_skip` among them.

    Prompts without weights that CLIP reads whole lead to the same picture as they do without this. Only where Stable
    Diffusion XL tells an empty negative prompt from none, it is none here: a picture's negative prompt is empty when
    only its neighbours in a batch have one.

    Args:
        pipeline: Any pipeline.
        prompts: The prompts, at least one.
        negative_prompts: As many negative prompts, or None.
        clip_skip: CLIP layers to leave out, as diffusers counts them; as there, not for negative prompts.
        weighting: Whether brackets are syntax; for a pipeline whose way to read prompts is not known they never are.
        guided: Whether negative prompts have an effect, which they have from a guidance scale above 1.
        max_sequence_length: Tokens that T5 reads; None for the pipeline's own number.
    """
    read = parse_prompt if weighting else literal_prompt
    positive = [read(prompt) for prompt in prompts]
    negative = [read(prompt) for prompt in negative_prompts] if guided and negative_prompts else None
    parameters = call_parameters(pipeline)
    found: dict[str, Any]
    match text_family(pipeline):
        case "sd" | "sdxl":
            guided = guided and "negative_prompt_embeds" in parameters
            found = _embed_both(pipeline, positive, negative, guided=guided, clip_skip=clip_skip or 0)
        case "sd3" | "flux":
            limits = {"max_sequence_length": max_sequence_length} if max_sequence_length else {}
            found = {"clip_skip": clip_skip} | _blend(pipeline, "", positive, clip_skip=clip_skip, **limits)
            if negative:
                found |= _blend(pipeline, "negative_", negative, **limits)
        case None:
            found = {"prompt": list(prompts), "clip_skip": clip_skip}
            if negative:
                found["negative_prompt"] = list(negative_prompts or ())
    return {name: value for name, value in found.items() if value is not None and name in parameters}


def _embed_both(
    pipeline: Any, positive: list[Prompt], negative: list[Prompt] | None, *, guided: bool, clip_skip: int
) -> dict[str, Any]:
    """Return the embeddings for Stable Diffusion 1, 2 and XL; only XL's calls take the pooled ones."""
    device = pipeline._execution_device  # noqa: SLF001 - a pipeline whose parts are moved by hooks tells it nowhere else
    embeds, pooled = _embed(pipeline, positive, clip_skip=clip_skip, device=device)
    if not guided:
        return {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled}
    zeros = pipeline.config.get("force_zeros_for_empty_prompt", False)
    if zeros and negative is None:
        unwanted, unwanted_pooled = torch.zeros_like(embeds), torch.zeros_like(pooled)
    else:
        negative = negative or [literal_prompt("")] * len(positive)
        unwanted, unwanted_pooled = _embed(pipeline, negative, clip_skip=0, device=device, field="negative_prompt")
        empty = [zeros and not any(section.text.strip() for section in prompt) for prompt in negative]
        unwanted[empty], unwanted_pooled[empty] = 0, 0
    embeds, unwanted = repeat_to_longest([embeds, unwanted])
    return {
        "prompt_embeds": embeds,
        "pooled_prompt_embeds": pooled,
        "negative_prompt_embeds": unwanted,
        "negative_pooled_prompt_embeds": unwanted_pooled,
    }


def _embed(
    pipeline: Any, prompts: list[Prompt], *, clip_skip: int, device: torch.device, field: str = "prompt"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what Stable Diffusion reads of its one encoder, or XL of its two side by side."""
    xl = hasattr(pipeline, "text_encoder_2")
    found = [
        encode_clip(
            tokenizer,
            encoder,
            prompts,
            layers_left_out=clip_skip + xl,
            final_norm=not xl,
            device=device,
            field=field,
        )
        for tokenizer, encoder in clip_parts(pipeline)
    ]
    return torch.cat(repeat_to_longest([embeds for embeds, _ in found]), dim=-1), found[-1][1]


def _blend(pipeline: Any, side: str, prompts: list[Prompt], **arguments: Any) -> dict[str, Any]:
    """Return prompts for Stable Diffusion 3 or FLUX.1: as text, or as embeddings if one of them has weights.

    A weight moves the embedding of its token away from, or towards, the one that an empty prompt has at the same place
    (as ComfyUI does it). To make it larger or smaller would do little: these models norm what they read.
    """
    texts = [join_sections(prompt) for prompt in prompts]
    if not any(text.is_weighted for text in texts):
        return {f"{side}prompt": [text.text for text in texts]}
    known = signature(pipeline.encode_prompt).parameters
    wanted = arguments | {"prompt_2": None, "prompt_3": None, "do_classifier_free_guidance": False}
    # Both families return the embeddings first and the pooled ones last but one.
    embeds, *_, pooled, _ = pipeline.encode_prompt(
        [*(text.text for text in texts), ""], **{name: value for name, value in wanted.items() if name in known}
    )
    weights = torch.tensor([_position_weights(pipeline, text, embeds.shape[1]) for text in texts])
    weights = weights.to(embeds.device)[..., None]
    embeds, empty = embeds[:-1], embeds[-1:].float()
    blended = (empty + (embeds.float() - empty) * weights).to(embeds.dtype)
    return {
        f"{side}prompt_embeds": torch.where(weights == 1, embeds, blended),
        f"{side}pooled_prompt_embeds": pooled[:-1],
    }


def _position_weights(pipeline: Any, text: WeightedText, length: int) -> list[float]:
    """Return the weight at each place of embeddings: T5's tokens, before which Stable Diffusion 3 has CLIP's."""
    if hasattr(pipeline, "text_encoder_3"):
        clip = pipeline.tokenizer_max_length
        readers = [(pipeline.tokenizer, clip), (pipeline.tokenizer_3, length - clip)]
    else:
        readers = [(pipeline.tokenizer_2, length)]
    weights: list[float] = []
    for tokenizer, size in readers:
        if tokenizer is None:  # without T5 its embeddings are all 0
            weights += [1.0] * size
            continue
        encoded = tokenizer(
            text.text, padding="max_length", max_length=size, truncation=True, return_offsets_mapping=True
        )
        weights += read_weights(text, encoded.offset_mapping)
    return weights
