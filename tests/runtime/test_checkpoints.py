"""Families of checkpoints, told from headers as their makers' files have them: real names and shapes, no weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from heliograph_runtime.engines.diffusers.checkpoints import check_safetensors, find_family
from heliograph_runtime.engines.protocol import LoadError

CONVOLUTION = "model.diffusion_model.input_blocks.0.0.weight"
OPEN_CLIP = "cond_stage_model.model.token_embedding.weight"
CLIP = "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight"
XL = "conditioner.embedders.1.model.positional_embedding"
REFINER = "conditioner.embedders.0.model.positional_embedding"
SD3 = "model.diffusion_model.joint_blocks.0.context_block.adaLN_modulation.1.bias"
FLUX = "double_blocks.0.img_attn.norm.key_norm.scale"
GUIDANCE = "guidance_in.in_layer.bias"
SANA = ("blocks.0.cross_attn.q_linear.weight", "blocks.0.mlp.inverted_conv.conv.weight")


def save(file: Path, *names: str, **shapes: tuple[int, ...]) -> Path:
    tensors = {name: torch.zeros(1) for name in names}
    tensors |= {name.replace("__", "."): torch.zeros(shape) for name, shape in shapes.items()}
    save_file(tensors, file)
    return file


@pytest.mark.parametrize(
    ("names", "channels", "family"),
    [
        ((CLIP,), 4, "sd1"),
        ((CLIP,), 9, "sd1-inpaint"),
        ((OPEN_CLIP,), 4, "sd2"),
        ((OPEN_CLIP,), 9, "sd2-inpaint"),
        ((XL, "conditioner.embedders.0.transformer.text_model.final_layer_norm.bias"), 4, "sdxl"),
        ((XL,), 9, "sdxl-inpaint"),
        ((REFINER,), 4, "sdxl-refiner"),
    ],
)
def test_families_with_a_unet(tmp_path: Path, names: tuple[str, ...], channels: int, family: str) -> None:
    file = save(tmp_path / "file", *names, **{CONVOLUTION: (320, channels, 3, 3)})

    found = find_family(file)

    assert found is not None
    assert found.name == family
    assert found.complete


@pytest.mark.parametrize(
    ("names", "shapes", "family"),
    [
        ((SD3,), {}, "sd3-medium"),
        ((SD3, "model.diffusion_model.joint_blocks.0.x_block.attn2.qkv.weight"), {}, "sd3.5-medium"),
        ((SD3, "model.diffusion_model.joint_blocks.37.x_block.mlp.fc1.weight"), {}, "sd3.5-large"),
        ((SD3.removeprefix("model.diffusion_model."),), {}, "sd3-medium"),
        ((FLUX, GUIDANCE), {"img_in.weight": (8, 64)}, "flux-dev"),
        ((f"model.diffusion_model.{FLUX}",), {}, "flux-schnell"),
        ((FLUX, GUIDANCE), {"img_in.weight": (8, 384)}, "flux-fill"),
        (SANA, {}, "sana"),
    ],
)
def test_families_with_a_transformer(
    tmp_path: Path, names: tuple[str, ...], shapes: dict[str, tuple[int, ...]], family: str
) -> None:
    found = find_family(save(tmp_path / "file", *names, **shapes))

    assert found is not None
    assert found.name == family
    assert not found.complete


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("unet.conv_in.weight",),
        (CLIP,),
        (FLUX, "single_stream_modulation.lin.weight"),  # FLUX.2
        (FLUX, "distilled_guidance_layer.in_proj.bias"),  # Chroma
        (SANA[0],),  # PixArt
    ],
)
def test_what_is_of_no_family_known(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert find_family(save(tmp_path / "file", "other", *names)) is None


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"\xff" * 64])
def test_what_is_no_safetensors_file(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)

    with pytest.raises(LoadError) as caught:
        check_safetensors(file, field="lora_adapter")

    assert caught.value.reason == "UnsafeWeights"
    assert caught.value.message.startswith("lora_adapter: ")
