"""Options for stable-diffusion.cpp: each has its effect or is refused, and none is read out of the models folder."""

from pathlib import Path
from typing import Any

import pytest
from stable_diffusion_cpp import stable_diffusion_cpp as native

from heliograph_api.sdcpp_options import REFUSED
from heliograph_api.sdcpp_table import CHOICES, OPTIONS, PATHS, SWITCHES
from heliograph_runtime.engines.protocol import LoadError
from heliograph_runtime.engines.sdcpp import binding
from heliograph_runtime.engines.sdcpp.options import LoadOptions, read_options
from heliograph_runtime.engines.sdcpp.tiling import Tiling

# As LocalAI's documentation and its backend have them.
LOCALAI = {
    "diffusion_model", "clip_l_path", "clip_g_path", "t5xxl_path", "vae_path", "taesd_path", "clip_vision_path",
    "llm_path", "llm_vision_path", "diffusion_model_path", "high_noise_diffusion_model_path",
    "uncond_diffusion_model_path", "audio_vae_path", "embeddings_connectors_path", "control_net_path",
    "photo_maker_path", "pulid_weights_path", "embedding_dir", "lora_dir", "lora_apply_mode", "sampler", "scheduler",
    "prediction", "rng_type", "sampler_rng_type", "wtype", "tensor_type_rules", "flow_shift", "n_threads",
    "diffusion_flash_attn", "diffusion_conv_direct", "vae_conv_direct", "force_sdxl_vae_conv_scale",
    "tae_preview_only", "chroma_use_dit_mask", "chroma_use_t5_mask", "chroma_t5_mask_pad", "offload_params_to_cpu",
    "keep_clip_on_cpu", "keep_vae_on_cpu", "keep_control_net_on_cpu", "backend", "params_backend", "rpc_servers",
    "max_vram", "stream_layers", "vae_tiling", "vae_tile_size", "vae_tile_overlap", "vae_decode_only",
}  # fmt: skip
OFFLOADED = {"offload_params_to_cpu": True}
NOTHING = LoadOptions({}, {}, False, None, None, None, None, None, None)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    (folder / "loras").mkdir(parents=True)
    for name in ("vae.safetensors", "t5.gguf"):
        (folder / name).touch()
    (tmp_path / "secret.gguf").touch()
    (folder / "out.gguf").symlink_to(tmp_path / "secret.gguf")
    return folder


def refusal(models: Path, *options: str) -> LoadError:
    with pytest.raises(LoadError) as caught:
        read_options(options, models_dir=models)
    return caught.value


def test_every_option_of_localai_has_its_effect_or_a_reason() -> None:
    assert OPTIONS.keys() | REFUSED.keys() >= LOCALAI
    assert OPTIONS.keys().isdisjoint(REFUSED)


def test_fields_are_those_of_the_loaded_library() -> None:
    known = {name for name, _ in native.sd_ctx_params_t._fields_}

    assert {*PATHS, *SWITCHES, *CHOICES, "n_threads", "max_vram", "chroma_t5_mask_pad", "tensor_type_rules"} <= known


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_an_option_without_effect_is_refused_with_the_reason(models: Path, name: str) -> None:
    error = refusal(models, f"{name}:x")

    assert error.reason == "Unsupported"
    assert error.message == f"options: {name} has no effect here: {REFUSED[name]}; remove it"


@pytest.mark.parametrize(
    ("option", "why"),
    [
        (
            "backend:vae=cuda0",
            "vae=cuda0 needs a newer stable-diffusion.cpp; te=cpu, clip=cpu, vae=cpu, controlnet=cpu are",
        ),
        ("backend:te=cpu,diffusion=vulkan0", "diffusion=vulkan0 needs a newer stable-diffusion.cpp; te=cpu, "),
        ("backend", "true needs a newer stable-diffusion.cpp; te=cpu, "),
        ("params_backend:diffusion=disk", "diffusion=disk needs a newer stable-diffusion.cpp; *=cpu, cpu are there; "),
        (
            "max_vram:cuda0=8,cuda1=4",
            "a budget for each device needs a newer stable-diffusion.cpp; one number is there",
        ),
    ],
)
def test_devices_that_cannot_be_told_apart_are_refused(models: Path, option: str, why: str) -> None:
    error = refusal(models, option)

    assert error.reason == "Unsupported"
    assert error.message.startswith(f"options: {option.partition(':')[0]} has no effect here: {why}")
    assert error.message.endswith("; remove it")


def test_no_options_leave_everything_to_the_library(models: Path) -> None:
    assert read_options((), models_dir=models) == NOTHING


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["diffusion_model"], {"model_is_diffusion_model": True}),
        (["diffusion_model:false"], {"model_is_diffusion_model": False}),
        (
            ["diffusion_flash_attn", "keep_vae_on_cpu:1"],
            {"fields": {"diffusion_flash_attn": True, "keep_vae_on_cpu": True}},
        ),
        (["flash_attn:true", "flash_attn:FALSE"], {"fields": {"flash_attn": False}}),
        (["n_threads:3", "max_vram:1.5"], {"fields": {"n_threads": 3, "max_vram": 1.5}}),
        (["max_vram:8", "max_vram:-1"], {}),
        (["vae_decode_only:true", "stream_layers:false", "tae_preview_only:0"], {}),
        (
            ["keep_clip_on_cpu:false", "backend: te=cpu, vae=CPU", "backend:controlnet=cpu"],
            {"fields": dict.fromkeys(("keep_clip_on_cpu", "keep_vae_on_cpu", "keep_control_net_on_cpu"), True)},
        ),
        (["backend:clip=cpu", "params_backend:*=cpu"], {"fields": {"keep_clip_on_cpu": True, **OFFLOADED}}),
        (["params_backend:cpu"], {"fields": OFFLOADED}),
        (["wtype:q8_0"], {"fields": {"wtype": 8}}),
        (["wtype:Q4_k"], {"fields": {"wtype": 12}}),
        (["tensor_type_rules:^vae\\.=f16,model=q8_0"], {"fields": {"tensor_type_rules": "^vae\\.=f16,model=q8_0"}}),
        (["prediction:v"], {"fields": {"prediction": 1}}),
        (["rng_type:cpu"], {"fields": {"rng_type": 2}}),
        (["flow_shift:-1.5"], {"flow_shift": -1.5}),
        (["scheduler:karras"], {"schedule": "karras"}),
        (["scheduler:SGM Uniform"], {"schedule": "sgm_uniform"}),
        (["scheduler:default"], {}),
        (["vae_tiling"], {"tiling": Tiling(None, 0.5)}),
        (["vae_tile_size:512"], {"tiling": Tiling((512, 512), 0.5)}),
        (["vae_tile_size:512x384", "vae_tile_overlap:0.25"], {"tiling": Tiling((512, 384), 0.25)}),
        (["vae_tiling:false", "vae_tile_size:32"], {}),
        (["sampler:euler", "cfg_scale:1"], {}),
    ],
)
def test_options_are_read(models: Path, options: list[str], expected: dict[str, Any]) -> None:
    found = read_options(options, models_dir=models)

    assert vars(found) == vars(NOTHING) | expected


def test_paths_are_in_the_models_folder(models: Path) -> None:
    found = read_options(["vae_path:vae.safetensors", "t5xxl_path: t5.gguf", "lora_dir:loras"], models_dir=models)

    assert found.paths == {"vae_path": models / "vae.safetensors", "t5xxl_path": models / "t5.gguf"}
    assert found.lora_dir == models / "loras"


@pytest.mark.parametrize(
    ("option", "reason", "says"),
    [
        ("vae_path:none.gguf", "WeightsMissing", "options: vae_path: none.gguf was not found"),
        ("vae_path:../secret.gguf", "PathEscape", "options: vae_path: "),
        ("vae_path:out.gguf", "PathEscape", "options: vae_path: "),
        ("vae_path:/etc/passwd", "PathEscape", "options: vae_path: "),
        ("vae_path:loras", "WeightsMissing", "options: vae_path: loras is no file; name a file"),
        ("lora_dir:t5.gguf", "WeightsMissing", "options: lora_dir: t5.gguf is no folder; name a folder"),
        (
            "vae_pth:vae.safetensors",
            "InvalidSpec",
            "options: vae_pth is no option of stable-diffusion.cpp; write vae_path",
        ),
        ("torch_dtype:bf16", "InvalidSpec", "options: torch_dtype is no option of stable-diffusion.cpp; "),
        ("flash_attn:yes", "InvalidSpec", "options: flash_attn must be true or false, not 'yes'"),
        ("n_threads:0", "InvalidSpec", "options: n_threads must be a number of threads, 1 or more, not '0'"),
        ("n_threads:many", "InvalidSpec", "options: n_threads must be a number of threads"),
        ("max_vram:nan", "InvalidSpec", "options: max_vram must be a number of GiB"),
        ("flow_shift:inf", "InvalidSpec", "options: flow_shift must be a number, not 'inf'"),
        ("vae_tile_size:big", "InvalidSpec", "options: vae_tile_size must be a size such as 512 or 512x384"),
        ("vae_tile_overlap:0.9", "InvalidSpec", "options: vae_tile_overlap must be a number from 0 to 0.5"),
        ("scheduler:beta", "InvalidSpec", "options: scheduler must be one of default, discrete"),
        ("scheduler:ltx2", "InvalidSpec", "options: scheduler must be one of default, discrete"),
        ("prediction:w", "InvalidSpec", "options: prediction must be one of eps, v"),
        ("wtype:q9", "InvalidSpec", "options: wtype must be one of f32, f16"),
        ("tensor_type_rules:vae", "InvalidSpec", "options: tensor_type_rules must be rules of the form"),
        ("tensor_type_rules:(=f16", "InvalidSpec", "options: tensor_type_rules must be rules of the form"),
    ],
)
def test_what_cannot_be_is_refused(models: Path, option: str, reason: str, says: str) -> None:
    error = refusal(models, option)

    assert error.reason == reason
    assert error.message.startswith(says)


def test_types_that_the_library_cannot_make_have_no_names() -> None:
    names = binding.names("type")

    assert names["q8_0"] == 8
    assert {"f32", "bf16", "q4_0", "q6_K", "iq4_xs"} <= names.keys()
    assert names.keys().isdisjoint({"DEPRECATED", "i32", "f64", "q8_1", "q8_K"})
