"""Files of weights that are broken, hostile, or none, with the reason for which each is refused."""

import json
import pickle
import struct
from pathlib import Path

from runtime.sdcpp_files import Gguf, entry, safetensors_header, tensor, text

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

CORRUPT: dict[str, Gguf | bytes] = {
    **{f"GGUF: {name}": content for name, content in GGUF.items()},
    **{f"safetensors: {name}": content for name, content in SAFETENSORS.items()},
}
"""What starts as weights do and is refused as `CorruptWeights`."""


def write(path: Path, content: Gguf | bytes) -> Path:
    """Write one of these files."""
    if isinstance(content, Gguf):
        return content.write(path)
    path.write_bytes(content)
    return path
