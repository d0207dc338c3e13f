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
MANY = 1 << 40
U32, STRING, ARRAY = 4, 8, 9


def number(value: int) -> bytes:
    return struct.pack("<I", value)


def array(kind: int, count: int, values: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + values


def safetensors(data: int = 64, **entries: object) -> bytes:
    return safetensors_header(entries) + b"\0" * data


def described(dtype: str = "F16", shape: object = (32,), offsets: object = (0, 64)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def duplicated(name: str) -> bytes:
    one = f"{json.dumps(name)}: {json.dumps(described())}"
    return safetensors_header(f"{{{one}, {one}}}".encode()) + b"\0" * 64


GGUF: dict[str, Gguf | bytes] = {
    "cut after the magic": b"GGUF\3\0\0\0\0",
    "cut in the version": b"GGUF\3\0\0",
    "cut in the counts": Gguf().header()[:20],
    "cut in a key": Gguf(entries=[entry("general.name", STRING, text("a"))]).header()[:36],
    "cut in a value": Gguf(entries=[entry("general.name", STRING, text("a" * 50))]).header()[:-10],
    "cut in a list": Gguf(entries=[entry("a", ARRAY, array(U32, 8, bytes(20)))]).header(),
    "cut in a tensor's name": Gguf([tensor("weight" * 9)]).header()[:50],
    "cut in a tensor's shape": Gguf([tensor("weight", (32, 32))]).header()[:-20],
    "cut in a tensor's offset": Gguf([tensor("weight")]).header()[:-4],
    "cut before the data": Gguf([tensor("weight")], data=0),
    "cut in the data": Gguf([tensor("weight")], data=127),
    "version 0": Gguf(version=0),
    "version 1": Gguf(version=1),
    "version 4": Gguf(version=4),
    "big-endian": Gguf(version=3 << 24),
    "tensor count that lies": Gguf([tensor("weight")], tensor_count=2, data=0),
    "huge tensor count": Gguf(tensor_count=MANY),
    "negative tensor count": Gguf(tensor_count=(1 << 64) - 1),
    "huge entry count": Gguf(entry_count=MANY),
    "entry count that lies": Gguf([tensor("weight")], entry_count=1),
    "huge key": Gguf(entries=[struct.pack("<Q", MANY) + b"a"]),
    "key that is not UTF-8": Gguf(entries=[entry(b"\xff\xfe", U32, number(1))]),
    "huge text": Gguf(entries=[entry("a", STRING, struct.pack("<Q", MANY))]),
    "unknown value type": Gguf(entries=[entry("a", 13, number(1))]),
    "huge list": Gguf(entries=[entry("a", ARRAY, array(U32, MANY))]),
    "huge list of texts": Gguf(entries=[entry("a", ARRAY, array(STRING, MANY))]),
    "list of texts that lies": Gguf(entries=[entry("a", ARRAY, array(STRING, 1 << 20, text("b")))]),
    "list of an unknown type": Gguf(entries=[entry("a", ARRAY, array(99, 1, number(1)))]),
    "list of lists": Gguf(entries=[entry("a", ARRAY, array(ARRAY, 1, array(U32, 1, number(1))))]),
    "deep list of lists": Gguf(entries=[entry("a", ARRAY, array(ARRAY, 1) * 10_000)]),
    "two equal keys": Gguf(entries=[entry("a", U32, number(1))] * 2),
    "alignment 0": Gguf(entries=[entry("general.alignment", U32, number(0))]),
    "alignment 24": Gguf(entries=[entry("general.alignment", U32, number(24))]),
    "alignment 2^31": Gguf(entries=[entry("general.alignment", U32, number(1 << 31))]),
    "alignment as a float": Gguf(entries=[entry("general.alignment", 6, struct.pack("<f", float("nan")))]),
    "alignment as a list": Gguf(entries=[entry("general.alignment", ARRAY, array(U32, 1, number(32)))]),
    "no tensor name": Gguf([tensor("")]),
    "huge tensor name": Gguf([struct.pack("<Q", MANY) + b"a"]),
    "tensor name that is not UTF-8": Gguf([tensor(b"\xff\xfe")]),
    "six dimensions": Gguf([tensor("weight", (1, 1, 1, 1, 1, 32))]),
    "huge number of dimensions": Gguf([tensor("weight", dimensions=0xFFFFFFFF)]),
    "dimension 0": Gguf([tensor("weight", (32, 0))]),
    "shape that overflows": Gguf([tensor("weight", (1 << 32, 1 << 32))]),
    "negative dimension": Gguf([tensor("weight", ((1 << 64) - 32,))]),
    "removed type": Gguf([tensor("weight", kind=4)]),
    "unknown type": Gguf([tensor("weight", kind=99)]),
    "row that is no whole block": Gguf([tensor("weight", (32, 31), kind=2)]),
    "scalar in blocks": Gguf([tensor("weight", (), kind=2)]),
    "offset past the end": Gguf([tensor("weight", offset=MANY)]),
    "offset that overflows": Gguf([tensor("weight", offset=(1 << 64) - 32)]),
    "offset that is not aligned": Gguf([tensor("weight", (4,), offset=4)]),
    "data that overlap": Gguf([tensor("weight"), tensor("bias", offset=32)], data=256),
    "two equal names": Gguf([tensor("weight"), tensor("weight", offset=128)], data=256),
}

SAFETENSORS: dict[str, bytes] = {
    "cut in the header": safetensors(0, weight=described())[:40],
    "cut before the data": safetensors(0, weight=described()),
    "cut in the data": safetensors(63, weight=described()),
    "huge header": struct.pack("<Q", MANY) + b"{}",
    "header longer than the file": struct.pack("<Q", 99) + b"{}",
    "header that is not JSON": safetensors_header(b"{weight}"),
    "header that is not UTF-8": safetensors_header(b'{"\xff": 1}'),
    "header with a number that is none": safetensors_header(b'{"weight": NaN}'),
    "deep header": safetensors_header(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "header of many values": safetensors_header(b'{"a":[' + b"[]," * 800_000 + b"[]]}"),
    "two equal names": duplicated("weight"),
    "metadata that are a list": safetensors(0, __metadata__=[]),
    "entry that is a number": safetensors(weight=1),
    "entry without offsets": safetensors(weight={"dtype": "F16", "shape": [32]}),
    "entry with more": safetensors(weight=described() | {"more": 1}),
    "unknown dtype": safetensors(weight=described("F17")),
    "dtype that is a list": safetensors(weight={"dtype": [], "shape": [32], "data_offsets": [0, 64]}),
    "shape that is a number": safetensors(weight=described(shape=32)),
    "shape of fractions": safetensors(weight=described(shape=[32.0])),
    "shape of booleans": safetensors(weight=described(shape=[True] * 32)),
    "negative shape": safetensors(weight=described(shape=[-32])),
    "huge shape": safetensors(weight=described(shape=[10**30])),
    "six dimensions": safetensors(weight=described(shape=[1, 1, 1, 1, 1, 32])),
    "one offset": safetensors(weight=described(offsets=[0])),
    "offsets that are text": safetensors(weight=described(offsets=["0", "64"])),
    "offsets in reverse": safetensors(weight=described(offsets=[64, 0])),
    "offsets that contradict the shape": safetensors(weight=described(offsets=[0, 62])),
    "offsets past the end": safetensors(weight=described(offsets=[64, 128])),
    "data that overlap": safetensors(weight=described(), bias=described()),
    "hole in the data": safetensors(192, weight=described(), bias=described(offsets=[128, 192])),
    "data of no tensor": safetensors(65, weight=described()),
}

OTHERS: dict[str, tuple[str, bytes]] = {
    "empty": ("CorruptWeights", b""),
    "one byte": ("CorruptWeights", b"G"),
    "eight bytes": ("CorruptWeights", bytes(8)),
    "wrong magic": ("UnknownFormat", Gguf(magic=b"FUGG").header()),
    "old ggml": ("UnknownFormat", Gguf(magic=b"tjgg").header()),
    "zeros": ("UnknownFormat", bytes(4096)),
    "a picture": ("UnknownFormat", b"\x89PNG\r\n\x1a\n" + bytes(64)),
    "Git LFS": ("UnknownFormat", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
    "pickle of protocol 2": ("UnsafeWeights", pickle.dumps({"weight": [0.0] * 9}, protocol=2)),
    "pickle of protocol 5": ("UnsafeWeights", pickle.dumps({"weight": [0.0] * 9}, protocol=5)),
    "old torch": ("UnsafeWeights", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."),
    "pickle that looks like safetensors": ("UnsafeWeights", b"\x80\x04\x95\x40\x00\x00\x00\x01{" + bytes(64)),
    "unreadable dtype": ("UnknownFormat", safetensors(32, weight=described("I8", (32,), (0, 32)))),
}


def refused(path: Path) -> LoadError:
    with pytest.raises(LoadError) as caught:
        read_header(path, field=FIELD)
    message = caught.value.message
    assert message.startswith(f"{FIELD}: {path} ")
    assert "; " in message
    assert "\n" not in message
    assert len(message) < 400 + len(str(path))
    return caught.value


@pytest.mark.parametrize("case", GGUF)
def test_a_broken_gguf_file_is_refused(tmp_path: Path, case: str) -> None:
    file = GGUF[case]
    path = tmp_path / "broken.safetensors"
    if isinstance(file, bytes):
        path.write_bytes(file)
    else:
        file.write(path)

    assert refused(path).reason == "CorruptWeights"


@pytest.mark.parametrize("case", SAFETENSORS)
def test_a_broken_safetensors_file_is_refused(tmp_path: Path, case: str) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(SAFETENSORS[case])

    assert refused(path).reason == "CorruptWeights"


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
