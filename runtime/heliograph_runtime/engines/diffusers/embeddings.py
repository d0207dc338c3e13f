"""Textual inversion: words that a model is taught from files, each of which holds the vectors of one word.

Option `embeddings_dir:FOLDER` (`embedding_dir` too, as stable-diffusion.cpp calls it) names the folder. The name of a
file without its suffix is the word that stands for it in prompts, in any case. It is a whole word: diffusers' own
`load_textual_inversion` would read the word `art` in every `heart`.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AddedToken

from heliograph_runtime.engines.diffusers.checkpoints import check_safetensors
from heliograph_runtime.engines.diffusers.options import load_option
from heliograph_runtime.engines.diffusers.prompts import clip_parts, text_family
from heliograph_runtime.engines.diffusers.weights import PICKLES
from heliograph_runtime.engines.paths import inside
from heliograph_runtime.engines.protocol import LoadError

_FIELD = "options: embeddings_dir"
_XL_NAMES = ("clip_l", "clip_g")
"""What the vectors for each of XL's encoders are called in a file."""


def load_embeddings(pipeline: Any, options: Iterable[str], *, models_dir: Path) -> None:
    """Teach a pipeline the words in the folder that the options name, if they name one.

    To be called before hooks move the pipeline's parts.

    Args:
        pipeline: The pipeline.
        options: Entries `key:value` of the spec.
        models_dir: The models folder, in which the folder is looked up.

    Raises:
        LoadError: The folder is missing, the pipeline can't be taught, or a file is unsafe or made for another model.
    """
    options = list(options)
    name = load_option(options, "embeddings_dir") or load_option(options, "embedding_dir")
    if name is None:
        return
    family = text_family(pipeline)
    if family not in {"sd", "sdxl"}:
        raise LoadError("Unsupported", f"{_FIELD}: {type(pipeline).__name__} can't be taught words; remove the option")
    folder = inside(name, models_dir=models_dir, field=_FIELD)
    if not folder.is_dir():
        raise LoadError("WeightsMissing", f"{_FIELD}: {folder} is no folder; write the one that holds the embeddings")
    parts = clip_parts(pipeline)
    names = _XL_NAMES[-len(parts) :] if family == "sdxl" else None
    words = {path.stem: _read(path, names, models_dir=models_dir) for path in _files(folder)}
    for place, (tokenizer, encoder) in enumerate(parts):
        _teach({word: vectors[place] for word, vectors in words.items()}, tokenizer, encoder)


def _files(folder: Path) -> list[Path]:
    """Return the files of a folder to read, in the order of their names."""
    files = sorted(folder.iterdir())
    if pickle := next((path for path in files if path.suffix in PICKLES), None):
        raise LoadError(
            "UnsafeWeights",
            f"{_FIELD}: {pickle} is a pickle, which can run code as it is read; convert it to safetensors",
        )
    return [path for path in files if path.suffix == ".safetensors"]


def _read(path: Path, names: tuple[str, ...] | None, *, models_dir: Path) -> list[torch.Tensor]:
    """Return the vectors of a file for each text encoder, of shape (vectors, width); one encoder takes any name."""
    real = inside(path, models_dir=models_dir, field=_FIELD)
    check_safetensors(real, field=_FIELD)
    tensors = load_file(real)
    if names is None and len(tensors) == 1:
        found = list(tensors.values())
    elif names is not None and set(names) <= set(tensors):
        found = [tensors[name] for name in names]
    else:
        wanted = " and ".join(names) if names else "one tensor"
        raise _unfit(path.stem, f"it must hold {wanted}, but holds {', '.join(sorted(tensors)[:4]) or 'nothing'}")
    return [vectors[None] if vectors.ndim == 1 else vectors for vectors in found]


def _teach(words: Mapping[str, torch.Tensor], tokenizer: Any, encoder: Any) -> None:
    """Add words to a tokenizer and their vectors to its encoder."""
    names: dict[str, torch.Tensor] = {}
    taken = tokenizer.get_vocab()
    width = encoder.get_input_embeddings().embedding_dim
    most = tokenizer.model_max_length - 2
    for word, vectors in words.items():
        if vectors.ndim != 2 or vectors.shape[1] != width or not 1 <= len(vectors) <= most:
            shape = "x".join(map(str, vectors.shape))
            raise _unfit(word, f"it must hold 1 to {most} vectors of {width} numbers, but holds {shape}")
        # The further vectors of a word are called as diffusers calls them.
        named = {f"{word}_{number}" if number else word: vector for number, vector in enumerate(vectors)}
        if any(name in taken or name in names for name in named):
            raise _unfit(word, "its name is a token of the model, or one of another file's; rename the file")
        names |= named
    if not names:
        return
    tokenizer.add_tokens([AddedToken(name, single_word=True, normalized=True) for name in names])
    table = encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False).weight
    with torch.no_grad():
        table[tokenizer.convert_tokens_to_ids(list(names))] = torch.stack([*names.values()]).to(table)
    # Where a config says 2, as many do, the token with the largest number ends a text, which a new word then would.
    getattr(encoder, "text_model", encoder).eos_token_id = tokenizer.eos_token_id


def _unfit(word: str, problem: str) -> LoadError:
    return LoadError("InvalidSpec", f"{_FIELD}: {word}.safetensors is no embedding for this model: {problem}")
