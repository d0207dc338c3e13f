"""Fill the environment of an image; runs while the image is built, with the base's own Python and nothing else.

What it makes depends on its inputs alone: modules are compiled here and marked as checked by nobody (a read-only root
could not keep them otherwise), and every file gets the time SOURCE_DATE_EPOCH.
"""

import argparse
import concurrent.futures
import csv
import os
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path("/")
ENVIRONMENT = Path("/opt/heliograph")
TOOLS = Path("/opt/tools")
MOUNTED_TOOLS = Path("/mnt")
"""Where the stage that fills an image sees `TOOLS` of another stage, so that pip is in no layer of it."""
DIST = Path("/dist")
USER = "heliograph:x:65532:65532:heliograph:/tmp:/usr/sbin/nologin"
GROUP = "heliograph:x:65532:"
TORCH_STACK = re.compile(r"(torch|torchvision|triton|nvidia-.+|cuda-.+)$")
CUDA_LIBRARIES = {"nvidia-cublas", "nvidia-cuda-runtime"}
"""What a program that was compiled with the CUDA toolkit's packages is linked to."""
COMPILED = {"stable-diffusion-cpp-python"}
"""What has no wheels, and is compiled in a stage of its own."""
FOR_A_GPU = {"triton", "cuda-bindings", "cuda-pathfinder", "cuda-toolkit"} | {
    f"nvidia-{name}" for name in ("cuda-cccl", "curand", "cusolver", "nvtx")
}
"""Parts of torch's CUDA build that it loads only when it has found a GPU; the others it is linked to."""
FILES_FOR_A_GPU = (
    "nvidia/cudnn/lib/libcudnn_*.so.*",
    "nvidia/cu13/lib/libnvrtc-builtins.so.*",
    "nvidia/cu13/lib/libcusolver*.so.*",
    "nvidia/cu13/lib/*.a",
    "nvidia/nvshmem/bin",
    "nvidia/nvshmem/lib/*.a",
    "nvidia/nvshmem/lib/*.bc",
    "nvidia/nvshmem/lib/nvshmem_*.so.*",
    "nvidia/*/include",
)
HEADERS = ("torch/include",)
"""For a C++ compiler, which no image has."""
NEEDLESS = ("heliograph/catalogue", "lib", "include")
"""Weights for `heliograph run`; a second copy of stable-diffusion.cpp, with what other programs are compiled with."""
INSTALLERS = (
    "bin/pip",
    "bin/pip3*",
    "bin/wheel",
    "lib/python3*/ensurepip",
    "lib/python3*/site-packages/pip",
    "lib/python3*/site-packages/setuptools",
    "lib/python3*/site-packages/wheel",
    "lib/python3*/site-packages/pkg_resources",
    "lib/python3*/site-packages/_distutils_hack",
    "lib/python3*/site-packages/distutils-precedence.pth",
    *(f"lib/python3*/site-packages/{name}-*.dist-info" for name in ("pip", "setuptools", "wheel")),
)
"""What the public base's Python, in /usr/local, has to install packages with."""
PIP_INSTALL = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet")
LOCKED = ("--no-deps", "--require-hashes", "--only-binary=:all:", "--no-compile")


def run(name: str, *command: str | Path, **variables: str) -> None:
    """Run a command with these environment variables beside ours; end with its name and status when it fails.

    What may hold a password is a variable: other processes see arguments.
    """
    done = subprocess.run(command, env={**os.environ, **variables}, check=False)
    if done.returncode:
        sys.exit(f"error: {name} ended with status {done.returncode}")


def entries(locks: list[Path], wanted: Callable[[str], bool]) -> list[str]:
    """Return the entries of locks, each with its hashes, whose distribution is wanted."""
    found = [entry for lock in locks for entry in re.split(r"\n(?=\S)", lock.read_text().strip())]
    return [entry for entry in found if wanted(entry.partition("==")[0])]


def install_locked(python: list[str | Path], locked: list[str], *options: str) -> None:
    """Run pip's `install` on entries of a lock."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(locked) + "\n")
        file.flush()
        run("pip install", *python, "install", *options, "-r", file.name)


def make_tools(options: argparse.Namespace) -> None:
    """Install locked tools, in order, in an environment that is made when it is not there."""
    if not TOOLS.exists():
        run("venv", sys.executable, "-m", "venv", TOOLS)
    pip: list[str | Path] = [TOOLS / "bin" / "python", *PIP_INSTALL]
    for lock in options.locks:
        install_locked(pip, entries([lock], lambda _: True), *LOCKED)


def install_packages(options: argparse.Namespace) -> None:
    """Install what is locked in the environment of the image."""
    before = installed()
    locked = entries(options.locks, lambda name: wanted(name, options))
    index = options.torch_index.read_text().strip() if options.torch_index and options.torch_index.exists() else ""
    if index and options.part == "torch":
        pins = [
            entry.split(" ;")[0].split(" \\")[0] for entry in locked if entry.startswith(("torch==", "torchvision=="))
        ]
        run("pip install", *image_pip(), "install", "--no-compile", *pins, PIP_INDEX_URL=index)
    else:
        install_locked(image_pip(), locked, *LOCKED)
        if options.variant == "cpu":
            remove(FILES_FOR_A_GPU, site_packages())
        remove(HEADERS, site_packages())
    complete(before, sourceless=options.sourceless)


def wanted(name: str, options: argparse.Namespace) -> bool:
    """Whether a distribution is of the part that is asked for, and of use to the variant."""
    if name in COMPILED:
        return False
    if options.part == "cuda":
        return name in CUDA_LIBRARIES
    if options.part and (options.part == "torch") != bool(TORCH_STACK.match(name)):
        return False
    return not (options.variant == "cpu" and name in FOR_A_GPU)


def compile_library(options: argparse.Namespace) -> None:
    """Compile what has no wheels into one, with the C++ compiler of the stage.

    Every folder has a name that does not change, since a compiler writes names of sources into what it makes.
    """
    DIST.mkdir(exist_ok=True)
    download = Path("/src/download")
    pip: list[str | Path] = [TOOLS / "bin" / "python", *PIP_INSTALL]
    source = ("--no-deps", "--no-build-isolation", "--no-binary=:all:")
    for entry in entries(options.locks, lambda name: name in COMPILED):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(entry + "\n")
            file.flush()
            run("pip download", *pip, "download", *source, "--require-hashes", "--dest", download, "-r", file.name)
    for archive in download.glob("*.tar.gz"):
        shutil.unpack_archive(archive, "/src")
        folder = Path("/src") / archive.name.removesuffix(".tar.gz")
        # With SOURCE_DATE_EPOCH ggml would build for the oldest of CPUs.
        os.environ.pop("SOURCE_DATE_EPOCH", None)
        os.environ["PATH"] = f"{TOOLS}/bin:{os.environ['PATH']}"
        if options.cuda:
            os.environ["CMAKE_ARGS"] += f" {cuda_arguments()}"
        build = ("--config-settings=build-dir=/src/build", "--wheel-dir", DIST, folder)
        run("pip wheel", *pip, "wheel", *source, "--no-index", *build)
    (openmp,) = {path.resolve() for path in Path("/usr/lib").glob("*/libgomp.so.1")}
    shutil.copy2(openmp, DIST / "libgomp.so.1")


def cuda_arguments() -> str:
    """Return what CMake must know to compile with the CUDA toolkit's packages.

    The driver's library is not linked to: a machine without a GPU has none, and the wheels have no stand-in for it.
    The others are found beside the library's own package, where pip puts them in the image.
    """
    (toolkit,) = TOOLS.glob("lib/python3*/site-packages/nvidia/cu1[0-9]")
    for library in [*(toolkit / "lib").glob("*.so.*")]:
        plain = library.with_name(library.name.partition(".so")[0] + ".so")
        if not plain.exists():
            plain.symlink_to(library.name)
    architectures = os.environ["CUDA_ARCHITECTURES"].replace(";", "\\;")
    return " ".join(
        (
            "-DSD_CUDA=ON",
            "-DGGML_CUDA_NO_VMM=ON",
            f"-DCMAKE_CUDA_COMPILER={toolkit}/bin/nvcc",
            f"-DCUDAToolkit_ROOT={toolkit}",
            f"-DCMAKE_CUDA_ARCHITECTURES={architectures}",
            f"-DCMAKE_INSTALL_RPATH=$ORIGIN/../../nvidia/{toolkit.name}/lib",
            "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON",
        )
    )


def install_wheels(options: argparse.Namespace) -> None:
    """Install wheels that were built in another stage, and the libraries beside them that they are linked to."""
    before = installed()
    wheels = [wheel for folder in options.folders for wheel in sorted(folder.glob("*.whl"))]
    run("pip install", *image_pip(), "install", "--no-deps", "--no-index", "--no-compile", *wheels)
    for name in installed() - before:
        (site_packages() / name / "direct_url.json").unlink(missing_ok=True)
    for library in sorted(path for folder in options.folders for path in folder.glob("*.so.*")):
        shutil.copy2(library, ROOT / "usr" / "lib")
    remove(NEEDLESS, site_packages())
    complete(before, sourceless=[])


def image_pip() -> list[str | Path]:
    """Return the start of a command of pip for the image's environment, which is made when it is not there."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        run("venv", sys.executable, "-m", "venv", "--without-pip", ENVIRONMENT)
        remove(INSTALLERS, ROOT / "usr" / "local")
        for path, line in ((ROOT / "etc/passwd", USER), (ROOT / "etc/group", GROUP)):
            path.write_text(path.read_text() + line + "\n")
    return [MOUNTED_TOOLS / "bin" / "python", *PIP_INSTALL[:2], "--python", python, *PIP_INSTALL[2:]]


def site_packages() -> Path:
    """Return the folder that pip installs into."""
    return next(ENVIRONMENT.glob("lib/python3*/site-packages"))


def installed() -> set[str]:
    """Return the names of the folders of metadata that are there."""
    return {path.name for path in ENVIRONMENT.glob("lib/python3*/site-packages/*.dist-info")}


def remove(patterns: tuple[str, ...], folder: Path) -> None:
    """Remove what patterns name from a folder."""
    for path in [path for pattern in patterns for path in folder.glob(pattern)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def complete(before: set[str], *, sourceless: list[str]) -> None:
    """Compile what was installed since, and give all files one time.

    Args:
        before: The folders of metadata that were there.
        sourceless: Packages that are kept compiled alone, without docstrings: large generated ones.
    """
    modules = [path for name in sorted(installed() - before) for path in recorded_modules(site_packages() / name)]
    bare = {path for path in modules if path.relative_to(site_packages()).parts[0] in sourceless}
    with concurrent.futures.ProcessPoolExecutor() as pool:
        for future in [pool.submit(compile_module, path, bare=path in bare) for path in modules]:
            future.result()
    shutil.rmtree(Path.home() / ".cache", ignore_errors=True)
    settle_times()


def recorded_modules(metadata: Path) -> Iterator[Path]:
    """Yield the Python modules of one distribution."""
    with (metadata / "RECORD").open(newline="") as file:
        for name, *_ in csv.reader(file):
            path = site_packages() / name
            if path.suffix == ".py" and path.is_file() and not name.startswith(".."):
                yield path


def compile_module(path: Path, *, bare: bool) -> None:
    """Compile a module; what is no module of this Python, such as a template, stays as it is."""
    target = str(path.with_suffix(".pyc")) if bare else None
    made = py_compile.compile(
        str(path),
        cfile=target,
        quiet=2,
        optimize=2 if bare else -1,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    if bare and made:
        path.unlink()


def settle_times() -> None:
    """Give everything that this build wrote the time SOURCE_DATE_EPOCH."""
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    touched = ("etc/passwd", "etc/group", "etc", "opt", "root", "run", "tmp", "usr/lib", ".")
    trimmed = {path for it in INSTALLERS for path in (ROOT / "usr" / "local").glob(str(Path(it).parent))}
    for path in [*ENVIRONMENT.rglob("*"), ENVIRONMENT, *(ROOT / name for name in touched), *trimmed]:
        if os.path.lexists(path) and path.lstat().st_mtime > epoch:
            os.utime(path, (epoch, epoch), follow_symlinks=False)


def main() -> None:
    """Do what the command line asks."""
    parser = argparse.ArgumentParser(description="Fill the environment of an image.")
    commands = parser.add_subparsers(required=True)
    tools = commands.add_parser("tools", help=f"make {TOOLS}")
    tools.add_argument("locks", nargs="+", type=Path)
    tools.set_defaults(do=make_tools)
    packages = commands.add_parser("packages", help=f"install locked packages in {ENVIRONMENT}")
    packages.add_argument("locks", nargs="+", type=Path)
    packages.add_argument(
        "--part", choices=["torch", "rest", "cuda"], help="torch's stack, the rest, or libraries of CUDA"
    )
    packages.add_argument("--variant", choices=["cpu", "cuda"], default="cuda")
    packages.add_argument("--torch-index", type=Path, help="file with the index to take torch from, if it is there")
    packages.add_argument("--sourceless", action="append", default=[], metavar="PACKAGE")
    packages.set_defaults(do=install_packages)
    compiled = commands.add_parser("compile", help=f"compile {', '.join(COMPILED)} into a wheel in {DIST}")
    compiled.add_argument("locks", nargs="+", type=Path)
    compiled.add_argument("--cuda", action="store_true", help="for NVIDIA GPUs, with the CUDA toolkit's packages")
    compiled.set_defaults(do=compile_library)
    wheels = commands.add_parser("wheels", help=f"install wheels in {ENVIRONMENT}")
    wheels.add_argument("folders", nargs="+", type=Path)
    wheels.set_defaults(do=install_wheels)
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
