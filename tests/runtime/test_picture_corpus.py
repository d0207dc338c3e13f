"""Files that are no pictures, damaged ones and bombs, over HTTP: each is refused, and nothing else comes of it."""

import base64
import io
import random
import zlib
from collections.abc import Iterator

import httpx
import psutil
import pytest
from PIL import Image

from runtime.picture_files import as_file, b64, blank_png, claims, many_scans, noise, png, quarters
from runtime.runtimes import Runtime

READ = ("PNG", "JPEG", "WEBP", "GIF", "MPO")
"""What Pillow writes and the runtime reads; a file of MPO is one of JPEG with more behind it."""
GROWTH = 64 * 1024 * 1024
"""Memory in bytes that refusing a file may take, the file itself included."""
MAGICS = {
    "avif": b"\0\0\0\x1cftypavif", "blp": b"BLP2", "bufr": b"BUFR", "cur": b"\0\0\2\0", "dcx": b"\xb1\x68\xde\x3a",
    "dds": b"DDS \x7c\0\0\0", "eps": b"%!PS-Adobe-3.0 EPSF-3.0", "fits": b"SIMPLE  =", "fli": b"\0\0\0\0\x11\xaf",
    "fpx": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ftex": b"FTEX", "gbr": b"\0\0\0\x1c\0\0\0\2", "gd": b"\xff\xfe",
    "grib": b"GRIB", "hdf5": b"\x89HDF\r\n\x1a\n", "heic": b"\0\0\0\x18ftypheic", "icns": b"icns", "ico": b"\0\0\1\0",
    "iptc": b"\x1c\x02", "jp2": b"\0\0\0\x0cjP  \r\n\x87\n", "j2k": b"\xff\x4f\xff\x51", "jxl": b"\xff\x0a",
    "mcidas": b"\0\0\0\0\0\0\0\4", "mpeg": b"\0\0\1\xb3", "msp": b"DanM", "pcd": b"PCD_", "pcx": b"\x0a\x05",
    "pixar": b"\200\350\0\0", "psd": b"8BPS", "qoi": b"qoif", "sgi": b"\x01\xda", "sun": b"\x59\xa6\x6a\x95",
    "tiff": b"II*\0", "bigtiff": b"II+\0", "wal": b"demo", "wmf": b"\xd7\xcd\xc6\x9a\0\0", "xpm": b"/* XPM */",
    "xv": b"P7 332", "pdf": b"%PDF-1.7", "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>", "zip": b"PK\3\4",
    "gzip": b"\x1f\x8b\x08", "mp4": b"\0\0\0\x20ftypisom", "html": b"<!doctype html>", "elf": b"\x7fELF", "text": b"a",
}  # fmt: skip
HEADS = {
    "png": b"\x89PNG\r\n\x1a\n", "jpeg": b"\xff\xd8\xff", "jfif": b"\xff\xd8\xff\xe0\0\x10JFIF\0", "gif": b"GIF89a",
    "webp": b"RIFF\xff\xff\xff\x7fWEBPVP8X", "lossless": b"RIFF\0\1\0\0WEBPVP8L", "lossy": b"RIFF\0\1\0\0WEBPVP8 ",
}  # fmt: skip


def other_formats() -> Iterator[tuple[str, bytes]]:
    """Yield a picture in every format that Pillow writes and the runtime does not read."""
    Image.init()
    for file_format in sorted(set(Image.SAVE) - set(READ)):
        for mode in ("RGB", "L", "1", "F"):
            try:
                yield file_format, as_file(quarters(mode), file_format)
            except (OSError, ValueError, KeyError):
                continue
            break


def damaged() -> Iterator[tuple[str, bytes]]:
    """Yield files that begin like pictures and are none."""
    chance = random.Random(2)
    for file_format in ("PNG", "JPEG", "WEBP", "GIF"):
        file = as_file(noise(), file_format)
        for cut in (13, 30, len(file) // 4, len(file) // 2, len(file) * 9 // 10):
            yield f"{file_format} cut at {cut}", file[:cut]
    for name, head in HEADS.items():
        yield f"{name} alone", head
        yield f"{name} and nothing", head + bytes(4096)
        yield f"{name} and noise", head + chance.randbytes(4096)
    yield "no rows", png(64, 64, b"")
    yield "rows that are no zlib", png(64, 64, b"\0" * 64)
    yield "no pixels", png(0, 0, zlib.compress(b""))


def bombs() -> Iterator[tuple[str, bytes]]:
    """Yield small files that would be huge in memory, or endless to read."""
    for file_format in ("PNG", "JPEG", "WEBP", "GIF"):
        yield f"{file_format} of 60000x60000", claims(as_file(quarters(), file_format))
        yield f"{file_format} of 8193x8193", claims(as_file(quarters(), file_format), 8193)
    yield "a true bomb", blank_png(30_000, 30_000)
    yield "text in a PNG", png(8, 8, b"", between=[(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8), 9))])
    yield "a profile in a PNG", png(8, 8, b"", between=[(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8), 9))])
    yield "comments in a JPEG", b"\xff\xd8" + b"\xff\xfe\0\2" * 500_000
    yield "chunks in a PNG", png(8, 8, b"", between=[(b"prVt", b"")] * 200_000)
    yield "comments in a GIF", as_file(quarters("P"), "GIF")[:13] + b"\x21\xfe\1a\0" * 500_000
    yield "scans in a JPEG", many_scans(9000, side=512)


def check_refused(answer: httpx.Response, *, param: str) -> None:
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == (param, "invalid_image"), error
    assert error["message"].startswith(f"{param}: Invalid image: ")
    for trace in ("object at", "BytesIO", "site-packages", "Traceback", "PIL", ".py"):
        assert trace not in answer.text


def post(runtime: Runtime, file: bytes, *, name: str = "a.png", kind: str = "image/png") -> httpx.Response:
    return runtime.post_to(
        "/v1/images/edits", data={"prompt": "a red circle", "steps": "1"}, files={"image": (name, file, kind)}
    )


def peak(process: psutil.Process) -> int:
    """Return the most memory in bytes that a process has had since `forget_peak`."""
    with open(f"/proc/{process.pid}/status") as status:  # noqa: PTH123 - no file of the test's own
        (line,) = (line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def forget_peak(process: psutil.Process) -> None:
    with open(f"/proc/{process.pid}/clear_refs", "w") as command:  # noqa: PTH123 - likewise
        command.write("5")


@pytest.fixture(autouse=True)
def worker_stays(runtime: Runtime) -> Iterator[None]:
    worker = runtime.worker.pid
    yield
    assert runtime.worker.pid == worker
    assert runtime.get("/readyz").status_code == 200


@pytest.mark.filterwarnings("ignore:IM image format is deprecated:DeprecationWarning")
def test_every_other_format_is_refused_under_its_own_name_and_under_another(runtime: Runtime) -> None:
    formats = dict(other_formats())
    assert {"BMP", "TIFF", "ICO", "PPM", "TGA", "AVIF", "EPS", "PDF"} <= set(formats)

    for file_format, file in formats.items():
        check_refused(
            post(runtime, file, name=f"a.{file_format.lower()}", kind="application/octet-stream"), param="image"
        )
        check_refused(post(runtime, file), param="image")


@pytest.mark.parametrize("name", MAGICS)
def test_what_begins_like_something_else(runtime: Runtime, name: str) -> None:
    check_refused(post(runtime, MAGICS[name] + bytes(256)), param="image")


def test_nothing_at_all(runtime: Runtime) -> None:
    check_refused(post(runtime, b""), param="image")


def test_what_only_begins_like_a_picture(runtime: Runtime) -> None:
    for name, file in damaged():
        answer = post(runtime, file)
        assert answer.status_code == 400, name
        check_refused(answer, param="image")


def test_bombs_take_no_memory(runtime: Runtime) -> None:
    process = psutil.Process(runtime.leash.pid)
    post(runtime, blank_png(8, 8))
    for name, file in bombs():
        before = process.memory_info().rss
        forget_peak(process)
        answer = post(runtime, file)
        assert answer.status_code == 400, name
        check_refused(answer, param="image")
        assert peak(process) - before < GROWTH, name


@pytest.mark.parametrize("field", ["image", "images", "file", "init_images", "ref_images", "mask", "control_image"])
def test_every_field_is_checked(runtime: Runtime, field: str) -> None:
    cut = base64.b64encode(as_file(quarters())[:60]).decode()
    if field == "control_image":
        # The model has no ControlNet, which is told first.
        assert runtime.post(prompt="a", control_image=cut).json()["error"]["code"] == "unsupported"
        return
    fields = {field: cut} if field != "mask" else {"image": b64(quarters()), "mask": cut}

    check_refused(runtime.post_to("/v1/images/edits", json={"prompt": "a", **fields}), param=field)


def test_the_formats_that_are_read_are_read_whatever_they_are_called(runtime: Runtime) -> None:
    for file_format in READ:
        settings = {"append_images": [quarters()], "save_all": True} if file_format == "MPO" else {}
        answer = post(runtime, as_file(quarters(), file_format, **settings), name="a.bmp", kind="image/bmp")
        assert answer.status_code == 200, (file_format, answer.text)
        assert Image.open(io.BytesIO(base64.b64decode(answer.json()["data"][0]["b64_json"]))).size == (128, 128)
