"""What does not fit a model is refused as it is loaded; stable-diffusion.cpp would end its process at a request."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heliograph_api.spec import parse_spec
from heliograph_runtime.engines.protocol import LoadError
from heliograph_runtime.engines.sdcpp.checking import CheckedModel, check_model
from runtime import miniature_sdcpp, miniature_sdcpp_unets
from runtime.miniature_sdcpp_files import Weights, save_gguf
from runtime.sdcpp_files import write_safetensors
from runtime.sdcpp_library import ends

PARTS = ["clip_l_path:clip_l.safetensors", "taesd_path:taef1.safetensors"]
LINEAR = "lora_unet_single_blocks_0_linear2"  # of 640 inputs and 128 outputs
Q, K, V = (f"transformer.transformer_blocks.0.attn.to_{part}" for part in "qkv")  # of 128 inputs and outputs
SD1_CONV = "lora_unet_down_blocks_0_resnets_0_conv1"  # 3x3, of 320 inputs and outputs
SD1_LINEAR = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"  # of 320 inputs and outputs
TEXT = "lora_te_text_model_encoder_layers_0_mlp_fc1"  # of 768 inputs and 3072 outputs

Shapes = dict[str, Sequence[int]]


def lora(module: str, down: Sequence[int], up: Sequence[int]) -> Shapes:
    return {f"{module}.lora_down.weight": down, f"{module}.lora_up.weight": up}


def peft(module: str, inputs: int, outputs: int) -> Shapes:
    return {f"{module}.lora_A.weight": (4, inputs), f"{module}.lora_B.weight": (outputs, 4)}


def parts(module: str, **shapes: Sequence[int]) -> Shapes:
    return {f"{module}.{part}": shape for part, shape in shapes.items()}


LOHA = {"hada_w1_a": (128, 4), "hada_w1_b": (4, 640), "hada_w2_a": (128, 4), "hada_w2_b": (4, 640)}
SPLIT_LOKR = {"lokr_w1": (4, 4), "lokr_w2_a": (32, 2), "lokr_w2_b": (2, 160)}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    miniature_sdcpp.save_flux(folder)
    miniature_sdcpp.save_flux_lora(folder / "style.safetensors")
    miniature_sdcpp.save_taesd(folder / "taesd.safetensors", miniature_sdcpp.SD_LATENT_CHANNELS)
    miniature_sdcpp_unets.save_sd1(folder)
    miniature_sdcpp_unets.save_sd1_lora(folder / "sd1_style.safetensors")
    return folder


def check(models: Path, model: str = "flux.gguf", options: Sequence[str] = (), **spec: Any) -> CheckedModel:
    options = [*(PARTS if model.startswith("flux") else ["taesd_path:taesd.safetensors"]), *options]
    return check_model(parse_spec({"parameters": {"model": model}, "options": options, **spec}), models_dir=models)


def refused(models: Path, **spec: Any) -> str:
    with pytest.raises(LoadError) as caught:
        check(models, **spec)
    return caught.value.message


def library_settings(models: Path) -> dict[str, Any]:
    files = {
        "diffusion_model_path": "flux.gguf",
        "clip_l_path": "clip_l.safetensors",
        "taesd_path": "taef1.safetensors",
    }
    return {role: str(models / name) for role, name in files.items()} | {"n_threads": 1}


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        (
            lora(LINEAR, (4, 320), (128, 4)),
            "of shape [4, 320] and type f16, which does not fit it; use an adapter that",
        ),
        (lora(LINEAR, (4, 640), (96, 4)), "changes 96 rows of 'model.diffusion_model.single_blocks.0.linear2.weight'"),
        (peft(Q, 128, 128) | peft(K, 128, 128), "changes 256 rows of 'model.diffusion_model.double_blocks.0.img_attn"),
        (parts(LINEAR, **SPLIT_LOKR), "set the option lora_apply_mode to immediately"),
    ],
)
def test_an_adapter_that_ends_the_library_is_refused(models: Path, tmp_path: Path, shapes: Shapes, says: str) -> None:
    file = write_safetensors(models / "unfit.safetensors", shapes, dtype="F16")

    assert ends(library_settings(models) | {"lora_apply_mode": 2}, loras=[str(file)])
    message = refused(models, lora_adapters=["style.safetensors", "unfit.safetensors"])
    assert message.startswith(f"lora_adapters[1]: {file} changes ")
    assert says in message


@pytest.mark.parametrize(
    ("shapes", "modes"),
    [
        (peft(Q, 128, 128) | peft(K, 128, 128) | peft(V, 128, 128), "RI"),
        (peft(Q, 128, 128), "I"),
        (peft(Q, 128, 128) | peft(V, 128, 128), "I"),
        (lora(LINEAR, (4, 640, 1, 1), (128, 4, 1, 1)), "I"),
        (lora(LINEAR, (4, 640), (128, 8)), ""),
        (lora(LINEAR, (0, 640), (128, 0)), ""),
        (lora(LINEAR, (4, 640), (128, 4)) | parts(LINEAR, alpha=(0,)), ""),
        (lora(LINEAR, (4, 640), (128, 4)) | parts(LINEAR, alpha=()), "RI"),
        (lora(LINEAR, (4, 640), (128, 4)) | parts(LINEAR, diff_b=(64,)), ""),
        (parts(LINEAR, diff=(128, 640)), "RI"),
        (parts(LINEAR, diff=(128, 640)) | lora(LINEAR, (4, 640), (128, 4)), ""),
        (peft(Q, 128, 128) | parts(K, diff=(128, 128)) | peft(V, 128, 128), "I"),
        (parts(LINEAR, diff=(64, 640)), "RI"),
        (parts(LINEAR, diff=(64, 320)), ""),
        (parts(LINEAR, **LOHA), "RI"),
        (parts(LINEAR, **{**LOHA, "hada_w2_b": (4, 320)}), ""),
        (parts(LINEAR, lokr_w1=(4, 4), lokr_w2=(32, 160)), "RI"),
        (parts(LINEAR, lokr_w1=(4, 4), lokr_w2=(32, 80)), ""),
        (parts(LINEAR, **SPLIT_LOKR), "I"),
        (parts(LINEAR, lokr_w1_a=(4, 2), lokr_w1_b=(2, 4), lokr_w2=(32, 160)), "I"),
        (peft("double_blocks.0.img_attn.qkv", 128, 384), ""),  # as Black Forest Labs' own are called
        (lora("lora_vae_decoder_conv_in", (4, 4), (4, 4)), ""),
        ({f"{LINEAR}.lora_down.weight": (4, 640)}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_adapters_are_taken_as_the_mode_applies_them(models: Path, shapes: Shapes, modes: str) -> None:
    write_safetensors(models / "tried.safetensors", shapes, dtype="F16")

    for sign, mode in (("R", "at_runtime"), ("I", "immediately")):
        spec: dict[str, Any] = {"options": [f"lora_apply_mode:{mode}"], "lora_adapter": "tried.safetensors"}
        if sign in modes:
            assert check(models, **spec).adapters
        else:
            assert refused(models, **spec).startswith("lora_adapter: ")


@pytest.mark.parametrize(
    ("shapes", "fits"),
    [
        (lora(SD1_LINEAR, (4, 320), (320, 4)), True),
        (lora(SD1_CONV, (4, 320, 3, 3), (320, 4, 1, 1)), True),
        (lora(SD1_CONV, (4, 320, 1, 1), (320, 4, 1, 1)), False),
        (lora(SD1_CONV, (4, 320, 1, 1), (320, 4, 1, 1)) | parts(SD1_CONV, **{"lora_mid.weight": (4, 4, 3, 3)}), True),
        (lora(SD1_CONV, (4, 320, 1, 1), (320, 4, 1, 1)) | parts(SD1_CONV, **{"lora_mid.weight": (4, 8, 3, 3)}), False),
        (parts(SD1_CONV, lokr_w1=(4, 4), lokr_w2_a=(80, 4), lokr_w2_b=(4, 720)), True),
        (lora(TEXT, (4, 768), (3072, 4)), True),
        (lora(TEXT, (4, 1024), (4096, 4)), False),
        (lora(LINEAR, (4, 640), (128, 4)), False),
    ],
)  # fmt: skip
def test_adapters_of_a_unet(models: Path, shapes: Shapes, fits: bool) -> None:
    write_safetensors(models / "tried.safetensors", shapes, dtype="F16")

    if fits:
        check(models, "sd1.safetensors", lora_adapter="tried.safetensors")
    else:
        refused(models, model="sd1.safetensors", lora_adapter="tried.safetensors")


def test_files_of_a_folder_that_do_not_fit_are_left_out(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    (models / "loras").mkdir()
    shutil.copy(models / "style.safetensors", models / "loras" / "fitting.safetensors")
    shutil.copy(models / "sd1_style.safetensors", models / "loras" / "other.safetensors")
    (models / "loras" / "broken.safetensors").write_bytes(b"\x80\x04K\x01.")
    half = lora(LINEAR, (4, 640), (128, 4)) | {"lora_unet_none.alpha": (), f"{LINEAR}.dora_scale": (128, 1)}
    write_safetensors(models / "loras" / "half.safetensors", half, dtype="F16")

    with caplog.at_level(logging.WARNING):
        adapters = check(models, options=["lora_dir:loras"]).adapters

    assert [(adapter.name, adapter.weight) for adapter in adapters] == [("fitting", 0.0), ("half", 0.0)]
    logged = "\n".join(caplog.messages)
    assert "broken.safetensors is left out: options: lora_dir: " in logged
    assert "other.safetensors is left out: it has no tensor (such as 'lora_unet_up_blocks_3_" in logged
    assert "half.safetensors is a DoRA, and is applied without its magnitudes" in logged
    assert "half.safetensors has 2 of 4 tensors that stable-diffusion.cpp finds no use for" in logged


def test_an_inversion_that_ends_the_library_is_left_out(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = models / "words"
    folder.mkdir()
    write_safetensors(folder / "good.safetensors", {"emb_params": (2, 768)}, dtype="F32")
    write_safetensors(folder / "one.safetensors", {"emb_params": (768,)}, dtype="F32")
    deep = write_safetensors(folder / "deep.safetensors", {"emb_params": (2, 2, 768)}, dtype="F32")
    write_safetensors(folder / "half.safetensors", {"emb_params": (2, 768)}, dtype="F16")
    write_safetensors(folder / "wide.safetensors", {"emb_params": (2, 1024)}, dtype="F32")
    write_safetensors(folder / "long.safetensors", {"emb_params": (76, 768)}, dtype="F32")
    write_safetensors(folder / "two.safetensors", {"clip_g": (2, 1280), "clip_l": (2, 768)}, dtype="F32")

    with caplog.at_level(logging.WARNING):
        found = check(models, "sd1.safetensors", ["embedding_dir:words"]).inversions

    assert [word for word, _file in found] == ["good", "one"]
    assert "half.safetensors is left out: it is stored as f16; convert it to F32" in "\n".join(caplog.messages)
    settings = {"model_path": models / "sd1.safetensors", "taesd_path": models / "taesd.safetensors"}
    assert ends({key: str(path) for key, path in settings.items()}, embeddings=[("word", str(deep))])


def test_a_layer_that_is_far_from_all_others_is_refused(models: Path) -> None:
    """The library makes room for all layers up to the greatest number, and ends the process where there is none."""
    miniature_sdcpp.save_upscaler(models / "upscaler.safetensors")
    far = write_safetensors(models / "far.safetensors", {"body.0.x": (1,), "body.3000.x": (1,)}, dtype="F16")

    check(models, options=["upscale_model_path:upscaler.safetensors"])
    assert ends(library_settings(models), upscaler=str(far))
    message = refused(models, options=["upscale_model_path:far.safetensors"])
    assert message.startswith("options: upscale_model_path: the file has a layer 3000 of 'body.', and most before it")


def test_a_name_that_is_cut_short_is_refused(models: Path) -> None:
    weights: Weights = miniature_sdcpp.flux(guidance=True)
    weights = {f"model.diffusion_model.{name}": tensor for name, tensor in weights.items()}
    weights["cond_stage_model.model.transformer.resblocks.3"] = np.ones(4, np.float16)
    save_gguf(models / "flux_cut.gguf", weights, architecture="flux")

    assert ends(library_settings(models) | {"model_path": str(models / "flux_cut.gguf"), "diffusion_model_path": ""})
    assert "resblocks.3' is cut short" in refused(models, model="flux_cut.gguf")
