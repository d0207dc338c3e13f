"""Headers of weights: what they tell, and that no broken or hostile file is taken, or does harm."""

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from heliograph_runtime.engines.protocol import LoadError
from heliograph_runtime.engines.sdcpp.headers import TensorInfo, read_header
from runtime.corrupt_files import ARRAY, CORRUPT, OTHERS, STRING, U32, array, described, number, write
from runtime.sdcpp_files import (
    Gguf,
    entry,
    safetensors_header,
    sparse,
    tensor,
    text,
    write_gguf,
    write_safetensors,
)

FIELD = "options: vae_path"


def refused(path: Path) -> LoadError:
    with pytest.raises(LoadError) as caught:
        read_header(path, field=FIELD)
    message = caught.value.message
    assert message.startswith(f"{FIELD}: {path} ")
    assert "; " in message
    assert "\n" not in message
    assert len(message) < 400 + len(str(path))
    return caught.value


@pytest.mark.parametrize("case", CORRUPT)
def test_a_broken_file_is_refused_whatever_its_name(tmp_path: Path, case: str) -> None:
    name = "broken.safetensors" if case.startswith("GGUF") else "broken.gguf"

    assert refused(write(tmp_path / name, CORRUPT[case])).reason == "CorruptWeights"


@pytest.mark.parametrize("case", OTHERS)
def test_what_is_no_weights_is_refused_by_its_content(tmp_path: Path, case: str) -> None:
    reason, content = OTHERS[case]
    path = tmp_path / "model.gguf"
    path.write_bytes(content)

    assert refused(path).reason == reason


def test_a_checkpoint_of_pytorch_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))

    assert refused(path).reason == "UnsafeWeights"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Path.mkdir, "UnknownFormat"),
        (os.mkfifo, "UnknownFormat"),
        (lambda path: path.symlink_to("/dev/zero"), "UnknownFormat"),
        (lambda path: path.symlink_to(path), "WeightsMissing"),
        (lambda _: None, "WeightsMissing"),
    ],
    ids=["folder", "pipe", "device", "loop of links", "nothing"],
)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, make: Callable[[Path], None], reason: str) -> None:
    path = tmp_path / "model.gguf"
    make(path)

    assert refused(path).reason == reason


def test_a_name_from_the_file_can_not_break_the_message(tmp_path: Path) -> None:
    path = Gguf([tensor("line\nfeed\x1b[31m" + "a" * 500, kind=99)]).write(tmp_path / "model.gguf")

    assert "line\\nfeed\\x1b[31m" in refused(path).message


def test_a_gguf_header(tmp_path: Path) -> None:
    path = Gguf(
        [
            tensor("convolution.weight", (320, 4, 3, 3), kind=1),
            tensor("linear.weight", (64, 256), kind=12, offset=23_040),
            tensor("scalar", (), offset=32_256),
        ],
        [
            entry("general.architecture", STRING, text("flux")),
            entry("general.alignment", U32, number(64)),
            entry("flux.guidance", 7, b"\1"),
            entry("flux.scale", 6, struct.pack("<f", 0.5)),
            entry("tokenizer.ggml.tokens", ARRAY, array(STRING, 2, text("a") + text("b"))),
            entry("tokenizer.ggml.scores", ARRAY, array(6, 2, bytes(8))),
            entry("tokenizer.chat_template", STRING, text("a" * 5000)),
        ],
        data=32_260,
        alignment=64,
    ).write(tmp_path / "model.bin")

    header = read_header(path, field=FIELD)

    assert header.format == "gguf"
    assert header.tensors == {
        "convolution.weight": TensorInfo((320, 4, 3, 3), "f16", 23_040),
        "linear.weight": TensorInfo((64, 256), "q4_k", 9_216),
        "scalar": TensorInfo((), "f32", 4),
    }
    assert header.metadata == {
        "general.architecture": "flux",
        "general.alignment": 64,
        "flux.guidance": True,
        "flux.scale": 0.5,
    }


def test_a_gguf_tensor_of_five_dimensions(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "wan.gguf", {"patch_embedding.weight": (64, 16, 1, 2, 2)})

    assert read_header(path, field=FIELD).tensors["patch_embedding.weight"].shape == (64, 16, 1, 2, 2)


def test_a_safetensors_header(tmp_path: Path) -> None:
    path = write_safetensors(
        tmp_path / "model.gguf",
        {"weight": (64, 32), "scalar": (), "empty": (0, 4)},
        dtype="F8_E4M3",
        metadata={"format": "pt", "long": "a" * 5000},
    )

    header = read_header(path, field=FIELD)

    assert header.format == "safetensors"
    assert header.tensors["weight"] == TensorInfo((64, 32), "f8_e4m3", 2048)
    assert header.tensors["scalar"] == TensorInfo((), "f8_e4m3", 1)
    assert header.metadata == {"format": "pt"}


def test_a_safetensors_header_whose_length_looks_like_a_pickle(tmp_path: Path) -> None:
    content = json.dumps({"weight": described()}).encode()
    path = sparse(tmp_path / "model", safetensors_header(content.ljust(0x0280)), 64)

    assert path.read_bytes()[:2] == b"\x80\x02"
    assert read_header(path, field=FIELD).tensors.keys() == {"weight"}


def test_no_data_are_read_of_a_file_as_large_as_models_are(tmp_path: Path) -> None:
    shapes = {f"blocks.{index}.weight": (4096, 4096) for index in range(2000)}

    for path in (write_gguf(tmp_path / "a", shapes), write_safetensors(tmp_path / "b", shapes)):
        assert path.stat().st_size > 60 << 30
        assert len(read_header(path, field=FIELD).tensors) == 2000
