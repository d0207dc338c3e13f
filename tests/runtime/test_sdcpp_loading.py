"""Models that stable-diffusion.cpp can't load are refused with the reason, and most before the library sees them."""

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from heliograph_api.spec import parse_spec
from heliograph_runtime.engines import container, make_engine
from heliograph_runtime.engines.protocol import Capabilities, LoadError
from heliograph_runtime.engines.sdcpp import engine
from runtime import miniature_sdcpp
from runtime.miniature_sdcpp_files import save_gguf
from runtime.sdcpp_files import write_gguf

PARTS = ["clip_l_path:clip_l.safetensors", "taesd_path:taef1.safetensors"]
BLOCK = "double_blocks.0.img_attn.qkv.weight"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdcpp")
    miniature_sdcpp.save_flux(folder)
    miniature_sdcpp.save_flux_lora(folder / "style.safetensors")
    (folder / "loras").mkdir()
    shutil.copy(folder / "style.safetensors", folder / "loras" / "other.safetensors")
    for name in ("one/flux.gguf", "two/flux.gguf", "two/other.gguf"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(folder / "flux.gguf", folder / name)
    (folder / "pickle.gguf").write_bytes(b"\x80\x04K\x01.")
    (folder / "cut.gguf").write_bytes((folder / "flux.gguf").read_bytes()[:-1000])
    write_gguf(
        folder / "wan.gguf",
        {
            **{f"blocks.{number}.cross_attn.norm_k.weight": (1536,) for number in range(30)},
            "patch_embedding.weight": (1536, 16, 1, 2, 2),
        },
    )
    return folder


def load(models: Path, model: str = "flux.gguf", **spec: Any) -> Capabilities:
    made = make_engine(parsed := parse_spec({"parameters": {"model": model}, "options": PARTS, **spec}))
    assert isinstance(made, engine.SdcppEngine)
    return made.load(parsed, models_dir=models)


def test_what_a_model_can_do_is_read_off_its_files(models: Path) -> None:
    found = load(models, lora_adapters=["style.safetensors"], options=[*PARTS, "lora_dir:loras"])

    assert tuple(found.modes) == ("text", "image", "inpaint", "reference")
    assert (found.dtype, found.width, found.size_multiple) == ("f16", 1024, 16)
    assert (found.steps, found.guidance_scale, found.true_cfg_scale, found.distilled_guidance) == (20, 3.5, 1.0, True)
    assert found.loras == ("style", "other")
    assert not found.stops_at_step


def test_a_folder_with_one_file_means_that_file(models: Path) -> None:
    assert "text" in load(models, "one", backend="sdcpp").modes


def test_localai_s_dead_option_takes_no_picture_away(models: Path) -> None:
    assert load(models, options=[*PARTS, "vae_decode_only:true"]).modes == load(models).modes


def test_weights_for_references_are_told_by_their_file_s_name(models: Path) -> None:
    shutil.copy(models / "flux.gguf", models / "flux1-kontext-dev.gguf")

    assert tuple(load(models, "flux1-kontext-dev.gguf").modes) == ("text", "reference")


def test_a_model_that_never_fits_is_refused(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "memory_limit", lambda: 200 << 20)

    with pytest.raises(LoadError) as caught:
        load(models)

    assert caught.value.reason == "TooLittleMemory"
    assert "about 0.5 GiB, but only 0.2 GiB can be used here" in caught.value.message


def test_a_model_that_fits_once_it_is_converted_is_loaded(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "memory_limit", lambda: 400 << 20)

    assert "text" in load(models, options=[*PARTS, "wtype:q4_K", "n_threads:2"]).modes


@pytest.mark.parametrize(
    ("options", "limit", "size"),
    [
        (["wtype:q4_K", "n_threads:64"], 400 << 20, "about 0.7 GiB"),
        (["wtype:f32", "n_threads:2"], 600 << 20, "about 0.6 GiB"),
    ],
)
def test_a_model_that_does_not_fit_once_it_is_converted_is_refused(
    models: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], limit: int, size: str
) -> None:
    monkeypatch.setattr(container, "memory_limit", lambda: limit)

    with pytest.raises(LoadError) as caught:
        load(models, options=[*PARTS, *options])

    assert caught.value.reason == "TooLittleMemory"
    assert size in caught.value.message


@pytest.mark.parametrize(
    ("device", "says"), [("cpu", "loading FLUX.1-dev, about 0.5 GiB"), ("cuda", "loading FLUX.1-dev")]
)
def test_the_size_is_logged_where_it_is_known(
    models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, device: str, says: str
) -> None:
    monkeypatch.setattr(engine, "library_device", lambda: device)

    with caplog.at_level(logging.INFO):
        load(models)

    assert says in caplog.messages


@pytest.mark.parametrize(("free", "side"), [(100 << 20, 192), (1 << 30, 640), (None, None)])
def test_pictures_are_as_large_as_the_memory_left_allows(
    models: Path, monkeypatch: pytest.MonkeyPatch, free: int | None, side: int | None
) -> None:
    monkeypatch.setattr(container, "available_memory", lambda: free)

    assert load(models).max_pixels == (side and side * side)


@pytest.mark.parametrize(
    ("model", "spec", "reason", "says"),
    [
        ("none.gguf", {}, "WeightsMissing", "parameters.model: none.gguf was not found"),
        ("two", {"backend": "sdcpp"}, "UnknownFormat", "parameters.model: two is a folder; name the .gguf"),
        ("pickle.gguf", {}, "UnsafeWeights", "parameters.model: "),
        ("cut.gguf", {}, "CorruptWeights", "parameters.model: "),
        ("wan.gguf", {}, "WeightsMissing", "options: Wan text to video needs t5xxl, "),
        ("flux.gguf", {"options": []}, "WeightsMissing", "options: FLUX.1-dev needs "),
        ("flux.gguf", {"options": ["vae_path:cut.gguf"]}, "CorruptWeights", "options: vae_path: "),
        ("flux.gguf", {"options": [*PARTS, "diffusion_model_path:flux.gguf"]}, "InvalidSpec", "options: diffusion"),
        ("flux.gguf", {"options": [*PARTS, "scheduler:ays"]}, "InvalidSpec", "options: scheduler must be one of"),
        ("flux.gguf", {"options": [*PARTS, "embedding_dir:loras"]}, "Unsupported", "options: embedding_dir: FLUX.1"),
        ("flux.gguf", {"options": [*PARTS, "upscale_model_path:pickle.gguf"]}, "UnsafeWeights", "options: upscale_mo"),
        ("flux.gguf", {"options": [*PARTS, "control_net_path:flux.gguf"]}, "Unsupported", "options: control_net_path"),
        ("flux.gguf", {"lora_adapters": ["pickle.gguf"]}, "UnsafeWeights", "lora_adapters[0]: "),
        ("flux.gguf", {"options": [*PARTS, "sampler:lms"]}, "InvalidSpec", "options: sampler: 'lms' is no sampler of "),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded_is_refused(
    models: Path, model: str, spec: dict[str, Any], reason: str, says: str
) -> None:
    with pytest.raises(LoadError) as caught:
        load(models, model, **spec)

    assert caught.value.reason == reason, caught.value
    assert caught.value.message.startswith(says)


@pytest.mark.parametrize(("shape", "says"), [(None, "not in model file"), ((128, 64), "has wrong shape in model file")])
def test_the_library_names_the_tensor_that_it_cannot_use(
    models: Path, tmp_path: Path, shape: tuple[int, int] | None, says: str
) -> None:
    weights = dict(miniature_sdcpp.flux(guidance=True))
    del weights[BLOCK]
    if shape:
        weights[BLOCK] = shape
    save_gguf(tmp_path / "flux.gguf", weights, architecture="flux")
    for name in ("clip_l.safetensors", "taef1.safetensors"):
        (tmp_path / name).hardlink_to(models / name)

    with pytest.raises(LoadError) as caught:
        load(tmp_path)

    assert caught.value.reason == "LoadFailed"
    assert f"'model.diffusion_model.{BLOCK}' {says}" in caught.value.message
