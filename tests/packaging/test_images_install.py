"""images/install.py and images/sbom.py, which fill an image while it is built, here in a folder."""

import argparse
import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from types import ModuleType

import psutil
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from cluster.http_server import running

EPOCH = 1_580_601_600
MODULE = '"""Documentation of the module."""\n\n\ndef answer() -> int:\n    """Documentation."""\n    return 42\n'
STATUS = """\
Package: libssl3
Status: install ok installed
Architecture: amd64
Version: 1:3.0.22-1~deb12u1+b2
Description: Secure Sockets Layer
 a second line

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1
"""


def wheel(folder: Path, name: str, files: dict[str, str]) -> str:
    """Write a wheel of version 1.0 and return its entry in a lock."""
    info = f"{name}-1.0.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\nLicense-Expression: MIT\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(text.encode())}")
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    target = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return f"{name}==1.0 \\\n    --hash=sha256:{hashlib.sha256(target.read_bytes()).hexdigest()}\n"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The root of an image that is to be filled."""
    target = tmp_path / "image"
    for name in ("etc", "root", "opt", "usr/lib", "var/lib/dpkg"):
        (target / name).mkdir(parents=True)
    (target / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (target / "etc" / "group").write_text("root:x:0:\n")
    (target / "etc" / "os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    (target / "var" / "lib" / "dpkg" / "status").write_text(STATUS)
    return target


@pytest.fixture
def install(root: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, with the image as its root and this environment's pip; wheels are found in tmp_path."""
    monkeypatch.syspath_prepend(str(root / "images"))
    program = import_module("install")
    monkeypatch.setattr(program, "ROOT", image)
    monkeypatch.setattr(program, "ENVIRONMENT", image / "opt" / "heliograph")
    monkeypatch.setattr(program, "MOUNTED_TOOLS", Path(sys.prefix))
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(tmp_path), "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(EPOCH))
    monkeypatch.setenv("HOME", str(tmp_path))
    return program


def install_lock(program: ModuleType, lock: Path, **options: object) -> None:
    given = {"locks": [lock], "part": None, "variant": "cuda", "torch_index": None, "sourceless": []} | options
    program.install_packages(argparse.Namespace(**given))


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return the bytes and the time of each file."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): (path.read_bytes(), int(path.stat().st_mtime)) for path in files}


def test_locked_packages_are_compiled_and_have_one_time(install: ModuleType, image: Path, tmp_path: Path) -> None:
    lock = tmp_path / "it.lock"
    lock.write_text(wheel(tmp_path, "small", {"small/__init__.py": MODULE, "small/template.py": "{{ no python }}\n"}))

    install_lock(install, lock)

    (package,) = (image / "opt" / "heliograph").glob("lib/python3*/site-packages/small")
    (compiled,) = (package / "__pycache__").glob("__init__.*.pyc")
    assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 0b01, (
        "it would be written anew, which no image allows"
    )
    assert (package / "__init__.py").read_text() == MODULE
    assert {int(path.lstat().st_mtime) for path in (image / "opt").rglob("*") if not path.is_symlink()} == {EPOCH}
    assert not list(package.parent.glob("pip*"))
    assert (image / "etc" / "passwd").read_text().splitlines()[-1].startswith("heliograph:x:65532:65532:")
    python = image / "opt" / "heliograph" / "bin" / "python"
    told = subprocess.run(
        [python, "-Ic", "import small; print(small.answer())"], capture_output=True, text=True, check=True
    )
    assert told.stdout == "42\n"


def test_the_same_lock_makes_the_same_layer(install: ModuleType, image: Path, tmp_path: Path) -> None:
    lock = tmp_path / "it.lock"
    lock.write_text(wheel(tmp_path, "small", {"small/__init__.py": MODULE}))
    made = []
    for _ in range(2):
        install_lock(install, lock)
        made.append(state(image / "opt"))
        shutil.rmtree(image / "opt" / "heliograph")

    assert made[0] == made[1]


def test_a_later_layer_leaves_the_files_of_an_earlier_one(install: ModuleType, image: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.lock", tmp_path / "second.lock"
    first.write_text(wheel(tmp_path, "small", {"small/__init__.py": MODULE}))
    second.write_text(wheel(tmp_path, "other", {"other/__init__.py": MODULE}))
    install_lock(install, first)
    (site,) = (image / "opt" / "heliograph").glob("lib/python3*/site-packages")
    before = {path: path.stat().st_ino for path in (site / "small").rglob("*") if path.is_file()}

    install_lock(install, second)

    assert {path: path.stat().st_ino for path in (site / "small").rglob("*") if path.is_file()} == before
    assert list((site / "other" / "__pycache__").glob("*.pyc"))
    assert len((image / "etc" / "passwd").read_text().splitlines()) == 2


def test_a_generated_package_is_kept_compiled_alone(install: ModuleType, image: Path, tmp_path: Path) -> None:
    lock = tmp_path / "it.lock"
    lock.write_text(wheel(tmp_path, "generated", {"generated/__init__.py": MODULE, "generated/part.py": MODULE}))

    install_lock(install, lock, sourceless=["generated"])

    (package,) = (image / "opt" / "heliograph").glob("lib/python3*/site-packages/generated")
    assert sorted(path.name for path in package.iterdir()) == ["__init__.pyc", "part.pyc"]
    python = image / "opt" / "heliograph" / "bin" / "python"
    code = "import generated.part as it; print(it.answer(), it.__doc__, it.answer.__doc__)"
    assert subprocess.run([python, "-Ic", code], capture_output=True, text=True, check=True).stdout == "42 None None\n"


def test_what_is_not_as_locked_is_refused(
    install: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / "it.lock"
    lock.write_text(wheel(tmp_path, "small", {"small/__init__.py": MODULE}))
    wheel(tmp_path, "small", {"small/__init__.py": MODULE + "# another\n"})

    with pytest.raises(SystemExit, match="pip"):
        install_lock(install, lock)
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "installed"),
    [
        ({"part": "torch", "variant": "cuda"}, {"torch", "triton", "nvidia_cudnn_cu13"}),
        ({"part": "torch", "variant": "cpu"}, {"torch", "nvidia_cudnn_cu13"}),
        ({"part": "rest"}, {"small"}),
        ({}, {"torch", "triton", "nvidia_cudnn_cu13", "small"}),
    ],
)
def test_parts_and_variants_take_their_own(
    install: ModuleType, image: Path, tmp_path: Path, options: dict[str, str], installed: set[str]
) -> None:
    libraries = {"nvidia/cudnn/lib/libcudnn.so.9": "linked", "nvidia/cudnn/lib/libcudnn_cnn.so.9": "loaded later"}
    entries = [
        wheel(tmp_path, "torch", {"torch/__init__.py": MODULE, "torch/include/torch.h": "//"}),
        wheel(tmp_path, "triton", {"triton/__init__.py": MODULE}),
        wheel(tmp_path, "nvidia_cudnn_cu13", libraries).replace("_", "-"),
        wheel(tmp_path, "small", {"small/__init__.py": MODULE}),
    ]
    lock = tmp_path / "it.lock"
    lock.write_text("".join(entries))

    install_lock(install, lock, **options)

    (site,) = (image / "opt" / "heliograph").glob("lib/python3*/site-packages")
    assert {path.name.removesuffix("-1.0.dist-info") for path in site.glob("*.dist-info")} == installed
    left = {path.name for path in site.glob("nvidia/cudnn/lib/*")}
    assert left == {Path(name).name for name in libraries if "torch" in installed} - (
        {"libcudnn_cnn.so.9"} if options.get("variant") == "cpu" else set()
    )
    assert not (site / "torch" / "include").exists()


def test_an_index_for_torch_is_taken_in_place_of_the_lock(
    install: ModuleType, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build for CPUs has the lock's version and hashes of its own."""
    folder = tmp_path / "index" / "torch"
    folder.mkdir(parents=True)
    wheel(folder, "torch", {"torch/__init__.py": MODULE})
    (folder / "index.html").write_text('<a href="torch-1.0-py3-none-any.whl">torch-1.0-py3-none-any.whl</a>')
    lock, index = tmp_path / "it.lock", tmp_path / "torch-index"
    lock.write_text(
        f"nvidia-cudnn-cu13==1.0 \\\n    --hash=sha256:{'0' * 64}\ntorch==1.0 \\\n    --hash=sha256:{'0' * 64}\n"
    )
    index.write_text(folder.parent.as_uri())
    monkeypatch.delenv("PIP_NO_INDEX")

    install_lock(install, lock, part="torch", variant="cpu", torch_index=index)

    (site,) = (image / "opt" / "heliograph").glob("lib/python3*/site-packages")
    assert [path.name for path in site.glob("*.dist-info")] == ["torch-1.0.dist-info"]
    assert list((site / "torch" / "__pycache__").glob("*.pyc"))


def test_a_password_for_that_index_is_neither_told_nor_an_argument(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Other processes see arguments, and a log keeps what is told."""
    seen: list[tuple[str, list[str]]] = []

    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            running = [psutil.Process(), *psutil.Process().children(recursive=True)]
            seen.append((self.headers["Authorization"], [word for process in running for word in process.cmdline()]))
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    lock, index = tmp_path / "it.lock", tmp_path / "torch-index"
    lock.write_text(f"torch==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    monkeypatch.delenv("PIP_NO_INDEX")
    with running(ThreadingHTTPServer(("127.0.0.1", 0), Index)) as url:
        index.write_text(url.replace("http://", "http://user:secret@") + "/cpu")
        with pytest.raises(SystemExit) as ended:
            install_lock(install, lock, part="torch", variant="cpu", torch_index=index)

    (authorization, arguments), *_ = seen
    assert base64.b64decode(authorization.removeprefix("Basic ")) == b"user:secret"
    assert "torch==1.0" in arguments
    assert not [word for word in arguments if "secret" in word]
    assert ended.value.code == "error: pip install ended with status 1"
    said = capfd.readouterr()
    assert "No matching distribution found for torch==1.0" in said.err
    assert "secret" not in said.out + said.err


def test_what_the_public_base_installs_packages_with_is_gone(install: ModuleType, image: Path, tmp_path: Path) -> None:
    """As python:3.11-slim-bookworm has it; what is another's stays, and what is left has one time."""
    library = image / "usr" / "local" / "lib" / "python3.11"
    gone = ["ensurepip/__init__.py"] + [
        f"site-packages/{name}"
        for name in (
            *("pip/__init__.py", "pip-24.0.dist-info/METADATA", "setuptools/__init__.py", "wheel/__init__.py"),
            *("setuptools-79.0.1.dist-info/METADATA", "wheel-0.45.1.dist-info/METADATA", "pkg_resources/__init__.py"),
            *("_distutils_hack/__init__.py", "distutils-precedence.pth"),
        )
    ]
    left = ["pickle.py", "site-packages/README.txt", "site-packages/pipeline.py"]
    programs = image / "usr" / "local" / "bin"
    paths = [library / name for name in gone + left] + [
        programs / name for name in ("pip", "pip3", "pip3.11", "wheel", "python3.11", "pipeline")
    ]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    lock = tmp_path / "it.lock"
    lock.write_text(wheel(tmp_path, "small", {"small/__init__.py": MODULE}))

    install_lock(install, lock)

    assert {str(path.relative_to(library)) for path in library.rglob("*") if path.is_file()} == set(left)
    assert sorted(path.name for path in library.iterdir()) == ["pickle.py", "site-packages"]
    assert sorted(path.name for path in (library / "site-packages").iterdir()) == ["README.txt", "pipeline.py"]
    assert sorted(path.name for path in programs.iterdir()) == ["pipeline", "python3.11"]
    assert {int(path.stat().st_mtime) for path in (library, library / "site-packages", programs)} == {EPOCH}


def test_our_wheel_comes_without_what_only_a_checkout_serves(install: ModuleType, image: Path, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    dist.mkdir()
    wheel(
        dist, "heliograph", {"heliograph/__init__.py": MODULE, "heliograph/catalogue/tiny.yaml": "kind: ImageModel\n"}
    )
    (dist / "libgomp.so.1").write_bytes(b"library")

    install.install_wheels(argparse.Namespace(folders=[dist]))

    (site,) = (image / "opt" / "heliograph").glob("lib/python3*/site-packages")
    assert not (site / "heliograph" / "catalogue").exists()
    assert not list(site.glob("heliograph-1.0.dist-info/direct_url.json")), "it would name a folder of the build"
    assert (image / "usr" / "lib" / "libgomp.so.1").read_bytes() == b"library"
    assert int((image / "usr" / "lib").stat().st_mtime) == EPOCH


def test_the_bill_of_materials_tells_what_is_there(
    root: Path, install: ModuleType, image: Path, tmp_path: Path
) -> None:
    dist = tmp_path / "dist"
    dist.mkdir()
    wheel(dist, "heliograph", {"heliograph/__init__.py": MODULE})
    wheel(dist, "Some_Thing", {"some_thing/__init__.py": MODULE})
    install.install_wheels(argparse.Namespace(folders=[dist]))
    target = image / "opt" / "heliograph" / "share" / "it.cdx.json"
    command: list[str | Path] = [
        sys.executable,
        root / "images" / "sbom.py",
        "--root",
        image,
        "heliograph-fetcher",
        target,
    ]
    texts = []
    for _ in range(2):
        subprocess.run(command, check=True, timeout=60)
        texts.append(target.read_text())

    assert texts[0] == texts[1]
    assert int(target.stat().st_mtime) == EPOCH
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(texts[0]) is None
    document = json.loads(texts[0])
    assert document["metadata"]["component"]["name"] == "heliograph-fetcher"
    assert document["metadata"]["component"]["version"] == "1.0"
    found = {component["purl"]: component for component in document["components"]}
    assert found.keys() == {
        f"pkg:generic/python@{sys.version.split()[0].rstrip('+')}",
        "pkg:deb/debian/libssl3@1%3A3.0.22-1~deb12u1%2Bb2?arch=amd64&distro=debian-12",
        "pkg:pypi/heliograph@1.0",
        "pkg:pypi/some-thing@1.0",
    }
    assert found["pkg:pypi/some-thing@1.0"]["licenses"] == [{"expression": "MIT"}]
