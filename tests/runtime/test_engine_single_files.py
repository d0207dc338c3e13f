"""Checkpoints in a single file, whose configs lie beside them or in the folder of their family, all offline."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from heliograph_runtime.engines.diffusers.engine import DiffusersEngine
from heliograph_runtime.engines.protocol import Batch, Capabilities
from runtime import miniatures
from runtime.alignment import realign
from runtime.engines import difference, draw, load_folder, make_sampling, refusal
from runtime.single_files import save_single_file

# diffusers 0.42 and numpy 2.4
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Save = Callable[[Path], None]


def batch(found: Capabilities) -> Batch:
    return Batch(make_sampling(found, "text", steps=2), ("a cat",), None, (1,))


def strip(folder: Path, *, of: str = "*") -> None:
    for weights in folder.glob(f"{of}/*.safetensors"):
        weights.unlink()


def assert_same(folder: tuple[DiffusersEngine, Capabilities], single: tuple[DiffusersEngine, Capabilities]) -> None:
    assert single[1].modes == folder[1].modes
    for engine, _ in (single, folder):
        realign(engine._model.whole)
    assert difference(draw(single[0], batch(single[1]))[0], draw(folder[0], batch(folder[1]))[0]) == 0


@pytest.mark.parametrize(
    ("save", "family"),
    [
        (miniatures.save_sd, "sd1"),
        (miniatures.save_sd2, "sd2"),
        (miniatures.save_sdxl, "sdxl"),
        (miniatures.save_sd3, "sd3-medium"),
    ],
)
def test_a_whole_model_with_the_configs_of_its_family(tmp_path: Path, save: Save, family: str) -> None:
    configs = tmp_path / "configs" / family
    save(configs)
    save_single_file(configs, tmp_path / "dream.safetensors")
    whole = load_folder(configs)
    strip(configs)

    assert_same(whole, load_folder(tmp_path / "dream.safetensors"))


@pytest.mark.parametrize("save", [miniatures.save_flux, miniatures.save_sana])
def test_a_transformer_with_the_rest_of_its_repository(tmp_path: Path, save: Save) -> None:
    save(tmp_path / "dream")
    save_single_file(tmp_path / "dream", tmp_path / "dream.safetensors")
    whole = load_folder(tmp_path / "dream")
    strip(tmp_path / "dream", of="transformer")

    assert_same(whole, load_folder(tmp_path / "dream.safetensors"))


def test_localais_class_for_a_flux_transformer(tmp_path: Path) -> None:
    miniatures.save_flux(tmp_path / "dream")
    save_single_file(tmp_path / "dream", tmp_path / "dream.safetensors")
    strip(tmp_path / "dream", of="transformer")
    engine, found = load_folder(tmp_path / "dream.safetensors", diffusers={"pipeline_type": "FluxTransformer2DModel"})
    one, other = (draw(engine, replace(batch(found), seeds=(seed,)))[0] for seed in (1, 2))

    assert found.modes["text"].pipeline == "FluxPipeline"
    assert difference(one, other) > 1


def test_what_a_file_lacks_is_taken_from_the_folder(tmp_path: Path) -> None:
    miniatures.save_sd3(tmp_path / "dream")
    whole = load_folder(tmp_path / "dream")
    save_single_file(tmp_path / "dream", tmp_path / "dream.safetensors")
    without_encoders(tmp_path / "dream.safetensors")
    strip(tmp_path / "dream", of="transformer")
    strip(tmp_path / "dream", of="vae")

    assert_same(whole, load_folder(tmp_path / "dream.safetensors"))


def without_encoders(file: Path) -> None:
    """Rewrite a checkpoint without its text encoders, as Stable Diffusion 3's own files come."""
    save_file({name: tensor for name, tensor in load_file(file).items() if not name.startswith("text_enc")}, file)


def test_the_folder_of_the_same_name_comes_first(tmp_path: Path) -> None:
    miniatures.save_sd(tmp_path / "dream")
    save_single_file(tmp_path / "dream", tmp_path / "dream.safetensors")
    (tmp_path / "configs/sd1").mkdir(parents=True)

    assert "text" in load_folder(tmp_path / "dream.safetensors")[1].modes


@pytest.mark.parametrize(
    ("save", "title", "lacking"),
    [
        (miniatures.save_sd, "Stable Diffusion 1", "put the configs and tokenizers of"),
        (miniatures.save_sdxl, "Stable Diffusion XL", "put the configs and tokenizers of"),
        (miniatures.save_sana, "Sana", "put the configs, tokenizers, text encoders and VAE of"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, save: Save, title: str, lacking: str) -> None:
    save(tmp_path / "model")
    save_single_file(tmp_path / "model", tmp_path / "dream.safetensors")

    error = refusal({"parameters": {"model": "dream.safetensors"}, "diffusers": {}}, tmp_path)

    assert error.reason == "ConfigMissing"
    assert f"dream.safetensors is a {title} checkpoint" in error.message
    assert lacking in error.message
    assert str(tmp_path / "configs") in error.message
    assert str(tmp_path / "dream") in error.message


def test_a_checkpoint_of_no_family_known_says_where_its_configs_go(tmp_path: Path) -> None:
    miniatures.save_sd(tmp_path / "model")
    shutil.copy(tmp_path / "model/unet/diffusion_pytorch_model.safetensors", tmp_path / "dream.safetensors")

    error = refusal({"parameters": {"model": "dream.safetensors"}, "diffusers": {}}, tmp_path)

    assert error.reason == "ConfigMissing"
    assert "of a family that is not known from its tensors" in error.message
    assert str(tmp_path / "dream") in error.message


def test_a_pipeline_that_reads_no_single_file_says_so(tmp_path: Path) -> None:
    miniatures.save_stable_video(tmp_path / "dream")
    shutil.copy(tmp_path / "dream/unet/diffusion_pytorch_model.safetensors", tmp_path / "dream.safetensors")

    error = refusal({"parameters": {"model": "dream.safetensors"}, "diffusers": {}}, tmp_path)

    assert error.reason == "UnknownFormat"
    assert "StableVideoDiffusionPipeline can't be read from a single file" in error.message
