"""What is refused before anything of a model is loaded."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from heliograph_runtime.engines.diffusers.files import find_model
from heliograph_runtime.engines.diffusers.weights import check_model
from heliograph_runtime.engines.protocol import LoadError
from runtime.runtimes import EXAMPLES

UNET = Path("unet/diffusion_pytorch_model.safetensors")


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.mark,)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the tiny model, in the models folder `tmp_path / "models"`."""
    return Path(shutil.copytree(EXAMPLES / "tiny-model/model", tmp_path / "models/m"))


def check(model: Path) -> None:
    check_model(find_model(model.name, models_dir=model.parent), models_dir=model.parent)


def refusal(model: Path) -> LoadError:
    with pytest.raises(LoadError) as caught:
        check(model)
    return caught.value


def test_the_tiny_model_passes(model: Path) -> None:
    check(model)


@pytest.mark.parametrize("suffix", [".bin", ".ckpt", ".pt", ".pth", ".pkl"])
def test_a_pickle_instead_of_safetensors(model: Path, suffix: str) -> None:
    mark = model.parent / "mark"
    (model / UNET).unlink()
    pickled = (model / UNET).with_suffix(suffix)
    pickled.write_bytes(pickle.dumps(Trap(mark)))

    error = refusal(model)

    assert error.reason == "UnsafeWeights"
    assert str(pickled) in error.message
    assert "convert it to safetensors" in error.message
    assert not mark.exists()


def test_a_pickle_that_calls_itself_safetensors(model: Path) -> None:
    mark = model.parent / "mark"
    (model / UNET).write_bytes(pickle.dumps(Trap(mark)))

    error = refusal(model)

    assert error.reason == "UnsafeWeights"
    assert str(model / UNET) in error.message
    assert not mark.exists()


def test_a_pickle_beside_safetensors_is_left_alone(model: Path) -> None:
    (model / UNET).with_suffix(".bin").write_bytes(b"never read")
    (model / "v1-5-pruned.ckpt").write_bytes(b"never read")

    check(model)


def test_safetensors_that_are_cut_off(model: Path) -> None:
    whole = (model / UNET).read_bytes()
    (model / UNET).write_bytes(whole[: len(whole) // 2])

    assert refusal(model).reason == "UnsafeWeights"


@pytest.mark.parametrize(("shard", "reason"), [("../vae/x.bin", "UnsafeWeights"), ("x.safetensors", "WeightsMissing")])
def test_an_index_of_shards_that_points_elsewhere(model: Path, shard: str, reason: str) -> None:
    index = model / "unet/diffusion_pytorch_model.safetensors.index.fp16.json"
    index.write_text(json.dumps({"weight_map": {"a": UNET.name, "b": shard}}))

    error = refusal(model)

    assert error.reason == reason
    assert shard in error.message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("_class_name", ["pipeline", "MyPipeline"]),
        ("unet", ["my_unet", "MyUNet"]),
        ("safety_checker", ["stable_diffusion", "Evil"]),
    ],
)
def test_code_of_the_models_own(model: Path, key: str, value: list[str]) -> None:
    index = model / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {key: value}))

    error = refusal(model)

    assert error.reason == "RemoteCode"
    assert str(index) in error.message


@pytest.mark.parametrize("linked", ["", "unet", str(UNET), "model_index.json"])
def test_a_link_out_of_the_models_folder(model: Path, linked: str) -> None:
    outside = model.parent.parent / "outside"
    inner = model / linked
    shutil.move(inner, outside)
    inner.symlink_to(outside)

    error = refusal(model)

    assert error.reason == "PathEscape"
    assert str(inner) in error.message


@pytest.mark.parametrize("linked", ["", "unet", str(UNET), "model_index.json"])
def test_links_inside_the_models_folder_are_followed(model: Path, linked: str) -> None:
    blob = model.parent / "blob"
    inner = model / linked
    shutil.move(inner, blob)
    inner.symlink_to(blob)

    check(model)


def test_the_models_folder_may_be_a_link_itself(model: Path) -> None:
    link = model.parent.parent / "link"
    link.symlink_to(model.parent)

    check_model(find_model(model.name, models_dir=link), models_dir=link)


@pytest.mark.parametrize("missing", ["", "unet", "scheduler"])
def test_what_is_missing_is_named(model: Path, missing: str) -> None:
    shutil.rmtree(model / missing)

    error = refusal(model)

    assert error.reason == "WeightsMissing"
    assert str(model / missing) in error.message


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_folder_in_another_layout(model: Path, content: str | None) -> None:
    index = model / "model_index.json"
    index.unlink()
    if content:
        index.write_text(content)

    assert refusal(model).reason == "UnknownFormat"


@pytest.mark.parametrize(("name", "reason"), [("a.ckpt", "UnsafeWeights"), ("a.gguf", "UnknownFormat")])
def test_a_single_file_of_another_format(model: Path, name: str, reason: str) -> None:
    file = model.parent / name
    file.write_bytes(b"")

    assert refusal(file).reason == reason


def test_a_single_file_needs_its_configs(model: Path) -> None:
    single = model.parent / "dream.safetensors"
    shutil.copy(model / UNET, single)

    error = refusal(single)

    assert error.reason == "ConfigMissing"
    assert str(model.parent / "dream") in error.message


def test_no_pickle_may_be_among_a_single_files_configs(model: Path) -> None:
    single = model.with_suffix(".safetensors")
    shutil.copy(model / UNET, single)
    check(single)
    (model / UNET).with_suffix(".bin").write_bytes(b"")

    assert refusal(single).reason == "UnsafeWeights"
