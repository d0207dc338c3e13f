"""The parts that miniature pipelines share: autoencoders, text encoders and tokenizers, all made in memory.

The vocabularies are single letters or bytes: any prompt can be read, and other letters mean another picture.
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import diffusers
import torch
from tokenizers import pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Qwen2Tokenizer,
    Qwen3Config,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz"
_WORDS = [f"{letter}{end}" for end in ("", "</w>") for letter in LETTERS]
_QWEN_SPECIALS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
_QWEN_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CLIP_WIDTH = 32
# A family's second text encoder is wider than its first: in a single file that is how they are told apart.
SECOND_CLIP_WIDTH = 48
T5_WIDTH = 32
LLM_WIDTH = 16


def reproducible(save: Callable[[Path], None]) -> Callable[[Path], None]:
    """Let a function draw the same weights each time, and leave torch's generator as it was."""

    @wraps(save)
    def seeded(folder: Path) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            save(folder)

    return seeded


def new(name: str, **config: Any) -> Any:
    """Return an object of diffusers, by the name of its class."""
    return getattr(diffusers, name)(**config)


def transformer(name: str, **config: Any) -> Any:
    """Return a transformer of diffusers that heeds prompt and pictures: untrained, its attention hardly weighs."""
    model = new(name, **config)
    with torch.no_grad():
        for weight_name, weight in model.named_parameters():
            if ("attn" in weight_name or "attention" in weight_name) and weight.ndim == 2:
                weight.mul_(4)
    return model


def save_pipeline(name: str, folder: Path, **parts: Any) -> None:
    """Save a pipeline of these parts; their dropout is off, as it is in a pipeline that was loaded."""
    pipeline = new(name, **parts)
    for component in pipeline.components.values():
        if isinstance(component, torch.nn.Module):
            component.eval()
    pipeline.save_pretrained(folder)


def load_pipeline(name: str, folder: Path, **parts: Any) -> Any:
    """Return a saved pipeline, by the name of a class that can load it."""
    pipeline = getattr(diffusers, name).from_pretrained(folder, local_files_only=True, **parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def vae(name: str = "AutoencoderKL", *, latent_channels: int, levels: int = 4, **config: Any) -> Any:
    """Return an autoencoder whose latents are `2 ** (levels - 1)` times smaller than the picture."""
    autoencoder = new(
        name,
        block_out_channels=(4,) * levels,
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=latent_channels,
        norm_num_groups=1,
        **config,
    )
    heed_pictures(autoencoder.quant_conv)
    return autoencoder


def causal_vae(name: str, *, base_dim: int, latent_channels: int) -> Any:
    """Return an autoencoder of Wan's kind: 8 times smaller than the picture, and 4 times shorter than the clip.

    Untrained, what it decodes has little to do with the latents; its layers are made stronger.
    """
    autoencoder = new(
        name,
        base_dim=base_dim,
        z_dim=latent_channels,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * latent_channels,
        latents_std=[1.0] * latent_channels,
    )
    heed_pictures(autoencoder.quant_conv)
    with torch.no_grad():
        for weight in autoencoder.decoder.parameters():
            if weight.ndim >= 4:
                weight.mul_(1.7)
    return autoencoder


def heed_pictures(last_layer: Any) -> None:
    """Let an encoder tell pictures apart: untrained, its own noise is far greater than what it sees.

    Args:
        last_layer: Its last layer, which gives each latent's mean, then each one's logarithm of the variance.
    """
    means = len(last_layer.bias) // 2
    with torch.no_grad():
        last_layer.weight[:means] *= 10
        last_layer.bias[means:] = -20


def clip() -> dict[str, Any]:
    """Return a CLIP text encoder and its tokenizer, as a pipeline calls them."""
    return {"text_encoder": CLIPTextModel(_clip_config(CLIP_WIDTH)), "tokenizer": clip_tokenizer()}


def projecting_clip(width: int) -> Any:
    """Return a CLIP text encoder with a projection, for the same tokenizer."""
    return CLIPTextModelWithProjection(_clip_config(width))


def _clip_config(width: int) -> Any:
    return CLIPTextConfig(
        vocab_size=len(_WORDS) + 2,
        hidden_size=width,
        projection_dim=width,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=3,
        max_position_embeddings=77,
        bos_token_id=len(_WORDS),
        eos_token_id=len(_WORDS) + 1,
        pad_token_id=1,
    )


def clip_tokenizer() -> Any:
    """Return a CLIP tokenizer that knows letters alone."""
    words = [*_WORDS, "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={word: place for place, word in enumerate(words)}, merges=[])
    tokenizer.model_max_length = 77
    return tokenizer


def clip_vision(*, width: int, image_size: int = 224, patch_size: int = 56) -> tuple[Any, Any]:
    """Return a CLIP image encoder and its image processor."""
    config = CLIPVisionConfig(
        hidden_size=width,
        projection_dim=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=image_size,
        intermediate_size=16,
        patch_size=patch_size,
    )
    return CLIPVisionModelWithProjection(config), CLIPImageProcessor(crop_size=image_size, size=image_size)


def t5(width: int = T5_WIDTH) -> Any:
    """Return a T5 encoder."""
    return T5EncoderModel(
        T5Config(vocab_size=64, d_model=width, d_kv=8, d_ff=37, num_layers=2, num_heads=4, dropout_rate=0.1)
    )


def t5_tokenizer() -> Any:
    """Return a T5 tokenizer that knows letters alone."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0)]
    pieces += [(letter, -2.0) for letter in LETTERS]
    tokenizer = T5Tokenizer(vocab=pieces, extra_ids=0)
    tokenizer.model_max_length = 77
    return tokenizer


def qwen3_config(*, layers: int) -> Any:
    """Return the configuration of a Qwen3 text encoder, for a byte tokenizer."""
    return Qwen3Config(
        vocab_size=512,
        hidden_size=LLM_WIDTH,
        intermediate_size=16,
        max_position_embeddings=512,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
    )


def byte_tokenizer(*, specials: tuple[str, ...] = _QWEN_SPECIALS, chat_template: str = _QWEN_CHAT) -> Any:
    """Return a tokenizer of Qwen's kind that knows bytes and special tokens, Qwen's if none are named."""
    words = ["<|endoftext|>", *specials, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    return Qwen2Tokenizer(
        vocab={word: place for place, word in enumerate(words)},
        merges=[],
        additional_special_tokens=list(specials),
        model_max_length=4096,
        chat_template=chat_template,
    )
