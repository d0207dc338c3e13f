"""Weighted prompts of any length into the embeddings of one CLIP text encoder.

CLIP reads 77 tokens. A longer prompt is cut into chunks of 75 between the tokens that begin and end a text, which are
encoded one by one and laid end to end, as in AUTOMATIC1111's web UI (`modules/sd_hijack_clip.py`); each section begins
a chunk. A prompt of one chunk without weights gets the same embeddings, bit for bit, as from diffusers' pipelines.

The prompts of a batch and their negative prompts must have the same number of chunks. What is short is repeated rather
than padded: cross-attention over the same keys twice is the same as over them once, so that a picture depends neither
on its neighbours in a batch nor on the length of its negative prompt. Each number must divide the larger ones, so all
are powers of two; up to the next of these, chunks without a text are added.
"""

from collections.abc import Sequence
from itertools import chain, count
from typing import Any

import torch

from heliograph_runtime.engines.diffusers.weighting import Prompt, WeightedText
from heliograph_runtime.engines.protocol import RefusedError

_COMMA = ",</w>"
_COMMA_REACH = 20
"""Tokens at the end of a chunk among which a comma ends it early, so that what belongs together stays together."""
_MOST_CHUNKS = 64
"""Chunks of a prompt: 4800 tokens. Each makes every step slower, as the picture attends to all of them."""
_ROWS = 32
"""Chunks that are encoded at once at most, since each of an encoder's layers is kept until it is done."""


def encode_clip(
    tokenizer: Any,
    encoder: Any,
    prompts: Sequence[Prompt],
    *,
    layers_left_out: int,
    final_norm: bool,
    device: torch.device,
    field: str = "prompt",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the embeddings of prompts (prompts, chunks * 77, width) and their pooled embeddings (prompts, width).

    Weights multiply the embeddings of their tokens. Then the mean magnitude of the chunk is restored: the web UI
    restores the mean itself, which is as good where all tokens are of like size, but blows up where it is near 0.

    Args:
        tokenizer: The encoder's tokenizer.
        encoder: A CLIPTextModel, or a CLIPTextModelWithProjection, whose pooled embeddings are projected.
        prompts: The prompts, at least one.
        layers_left_out: How many of the last layers are not gone through.
        final_norm: Whether the encoder's last norm is applied.
        device: Where the encoder computes.
        field: What the prompts are called in a request.

    Raises:
        RefusedError: A prompt is too long.
    """
    length = tokenizer.model_max_length
    chunks = [_chunks(tokenizer, prompt, room=length - 2) for prompt in prompts]
    if max(map(len, chunks)) > _MOST_CHUNKS:
        raise RefusedError(
            field, f"takes more than {_MOST_CHUNKS} chunks of {length - 2} tokens, the most that are read; shorten it."
        )
    rows = [_frame(tokenizer, chunk, length=length) for chunk in chain.from_iterable(chunks)]
    ids = torch.tensor([[token for token, _ in row] for row in rows], device=device)
    weights = torch.tensor([[weight for _, weight in row] for row in rows])
    outputs = [_run(encoder, part, layers_left_out, final_norm=final_norm) for part in torch.split(ids, _ROWS)]
    hidden = _weigh(torch.cat([output for output, _ in outputs]), weights)
    numbers = [len(found) for found in chunks]
    embeddings = [part.reshape(1, -1, hidden.shape[-1]) for part in torch.split(hidden, numbers)]
    # The first chunk speaks for the whole prompt, as in the web UI.
    pooled = [part[:1] for part in torch.split(torch.cat([output for _, output in outputs]), numbers)]
    return torch.cat(repeat_to_longest(embeddings)), torch.cat(pooled)


def repeat_to_longest(embeddings: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return embeddings of shape (prompts, tokens, width) with as many tokens each as the longest of them has."""
    longest = max(part.shape[1] for part in embeddings)
    return [part.repeat(1, longest // part.shape[1], 1) for part in embeddings]


def read_weights(text: WeightedText, offsets: Sequence[tuple[int, int]]) -> list[float]:
    """Return the weight of each token from where it is in the text; those that are not in it have the weight 1.

    The last character decides, because the tokens of some tokenizers begin with the space before a word.
    """
    return [text.weights[end - 1] if end > start else 1.0 for start, end in offsets]


def _chunks(tokenizer: Any, prompt: Prompt, *, room: int) -> list[list[tuple[int, float]]]:
    """Return ids and weights of the tokens of a prompt in chunks that are at most as long as `room`."""
    vectors = _vectors(tokenizer)
    comma = tokenizer.convert_tokens_to_ids(_COMMA)
    chunks: list[list[tuple[int, float]]] = []
    for section in prompt:
        encoded = tokenizer(section.text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        chunks.append([])
        for token, weight in zip(encoded.input_ids, read_weights(section, encoded.offset_mapping), strict=True):
            piece = [(vector, weight) for vector in vectors.get(token, (token,))]
            while len(chunks[-1]) + len(piece) > room:
                chunks.append(_take_after_comma(chunks[-1], comma))
            chunks[-1] += piece
    return chunks + [[]] * ((1 << (len(chunks) - 1).bit_length()) - len(chunks))


def _take_after_comma(chunk: list[tuple[int, float]], comma: int) -> list[tuple[int, float]]:
    """Take what follows the last comma near the end of a chunk out of it, and return it."""
    near = range(len(chunk) - 1, max(-1, len(chunk) - 1 - _COMMA_REACH), -1)
    cut = next((place + 1 for place in near if chunk[place][0] == comma), len(chunk))
    taken = chunk[cut:]
    del chunk[cut:]
    return taken


def _vectors(tokenizer: Any) -> dict[int, list[int]]:
    """Return, by the id of its first vector, the ids of all vectors of each added token that has several.

    diffusers calls the further ones `name_1`, `name_2` and so on.
    """
    added = tokenizer.get_added_vocab()
    found = {}
    for name, first in added.items():
        further = []
        for number in count(1):
            if (vector := added.get(f"{name}_{number}")) is None:
                break
            further.append(vector)
        if further:
            found[first] = [first, *further]
    return found


def _frame(tokenizer: Any, chunk: list[tuple[int, float]], *, length: int) -> list[tuple[int, float]]:
    """Return a chunk between the tokens that begin and end a text, padded to a length."""
    framed = [(tokenizer.bos_token_id, 1.0), *chunk, (tokenizer.eos_token_id, 1.0)]
    return framed + [(tokenizer.pad_token_id, 1.0)] * (length - len(framed))


def _run(
    encoder: Any, ids: torch.Tensor, layers_left_out: int, *, final_norm: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the embeddings (chunks, 77, width) of chunks, and their pooled ones (chunks, width)."""
    output = encoder(ids, output_hidden_states=not final_norm or layers_left_out > 0)
    pooled = output.text_embeds if hasattr(output, "text_embeds") else output.pooler_output
    if not final_norm:
        return output.hidden_states[-1 - layers_left_out], pooled
    if not layers_left_out:
        return output.last_hidden_state, pooled
    # transformers 5.6 merged what was `text_model` into the encoder itself.
    norm = getattr(encoder, "text_model", encoder).final_layer_norm
    return norm(output.hidden_states[-1 - layers_left_out]), pooled


def _weigh(hidden: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Multiply embeddings (chunks, 77, width) in place by weights (chunks, 77), and return them."""
    weighted = (weights != 1).any(dim=1)
    if not weighted.any():
        return hidden
    factors = weights[weighted].to(hidden.device)[..., None]
    before = hidden[weighted].float()
    after = before * factors
    after *= before.abs().mean(dim=(1, 2), keepdim=True) / after.abs().mean(dim=(1, 2), keepdim=True)
    hidden[weighted] = after.to(hidden.dtype)
    return hidden
