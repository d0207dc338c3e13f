"""Makes models of real size: the public architectures with random weights, which take as long as trained ones."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import diffusers
import torch
from bench.runtime.subjects import Device, DiffusersSubject
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

# Tokenizers that know letters alone: how long a text encoder takes does not depend on what it reads.
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_CLIP_WORDS = [f"{letter}{end}" for end in ("", "</w>") for letter in _LETTERS]
_CLIP_TOKENS = 77
_T5_TOKENS = 512
_SD_NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}

Parts = dict[str, Callable[[], Any]]


def write(subject: DiffusersSubject) -> None:
    """Write a model's files into its folder, unless they are there; each part is made on the device that it is for."""
    if subject.folder.exists():
        return
    print(f"making {subject.name} in {subject.folder} ...")
    unfinished = subject.folder.with_suffix(".unfinished")
    index: dict[str, Any] = {"_class_name": subject.pipeline}
    for name, make in _PARTS[subject.name]().items():
        with _made_as(getattr(torch, subject.dtype), device=subject.device):
            part = make()
        part.save_pretrained(unfinished / name)
        index[name] = [type(part).__module__.partition(".")[0], type(part).__name__]
    if "sd" in subject.name:
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None], "image_encoder": [None, None]}
    (unfinished / "model_index.json").write_text(json.dumps(index, indent=2))
    unfinished.rename(subject.folder)


@contextmanager
def _made_as(dtype: torch.dtype, *, device: Device) -> Iterator[None]:
    """Have modules made in a number type, the same ones each time."""
    before = torch.get_default_dtype()
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def _sd15() -> Parts:
    return {
        "unet": lambda: _new("UNet2DConditionModel", sample_size=64, cross_attention_dim=768),
        "vae": lambda: _vae(sample_size=512, scaling_factor=0.18215),
        "text_encoder": _clip_large,
        "tokenizer": _clip_tokenizer,
        "scheduler": lambda: _new("PNDMScheduler", **_SD_NOISE, skip_prk_steps=True),
    }


def _sdxl() -> Parts:
    return {
        "unet": lambda: _new(
            "UNet2DConditionModel",
            sample_size=128,
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        ),
        "vae": lambda: _vae(sample_size=1024, scaling_factor=0.13025, force_upcast=True),
        "text_encoder": _clip_large,
        "text_encoder_2": lambda: CLIPTextModelWithProjection(
            _clip_config(width=1280, layers=32, heads=20, hidden_act="gelu")
        ),
        "tokenizer": _clip_tokenizer,
        "tokenizer_2": _clip_tokenizer,
        "scheduler": lambda: _new("EulerDiscreteScheduler", **_SD_NOISE, timestep_spacing="leading"),
    }


def _flux() -> Parts:
    return {
        "transformer": lambda: _new("FluxTransformer2DModel", guidance_embeds=True),
        "vae": lambda: _vae(
            sample_size=1024,
            scaling_factor=0.3611,
            shift_factor=0.1159,
            latent_channels=16,
            use_quant_conv=False,
            use_post_quant_conv=False,
            force_upcast=True,
        ),
        "text_encoder": _clip_large,
        "text_encoder_2": _t5_xxl,
        "tokenizer": _clip_tokenizer,
        "tokenizer_2": _t5_tokenizer,
        "scheduler": lambda: _new("FlowMatchEulerDiscreteScheduler", shift=3.0, use_dynamic_shifting=True),
    }


_PARTS: dict[str, Callable[[], Parts]] = {"sd15": _sd15, "sdxl": _sdxl, "flux": _flux}


def _new(name: str, **config: Any) -> Any:
    return getattr(diffusers, name)(**config)


def _vae(**config: Any) -> Any:
    return _new(
        "AutoencoderKL",
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        **config,
    )


def _clip_large() -> Any:
    return CLIPTextModel(_clip_config(width=768, layers=12, heads=12, hidden_act="quick_gelu"))


def _clip_config(*, width: int, layers: int, heads: int, hidden_act: str) -> Any:
    return CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        hidden_act=hidden_act,
        bos_token_id=len(_CLIP_WORDS),
        eos_token_id=len(_CLIP_WORDS) + 1,
        pad_token_id=1,
    )


def _clip_tokenizer() -> Any:
    words = [*_CLIP_WORDS, "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={word: place for place, word in enumerate(words)}, merges=[])
    tokenizer.model_max_length = _CLIP_TOKENS
    return tokenizer


def _t5_xxl() -> Any:
    return T5EncoderModel(
        T5Config(
            vocab_size=32128,
            d_model=4096,
            d_kv=64,
            d_ff=10240,
            num_layers=24,
            num_heads=64,
            feed_forward_proj="gated-gelu",
        )
    )


def _t5_tokenizer() -> Any:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0), *((letter, -2.0) for letter in _LETTERS)]
    tokenizer = T5Tokenizer(vocab=pieces, extra_ids=0)
    tokenizer.model_max_length = _T5_TOKENS
    return tokenizer
