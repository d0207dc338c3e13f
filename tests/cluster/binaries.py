"""The Kubernetes programs that the tests and the development cluster run: found, or built from the sources in kube/.

In this order: the folder named by KUBEBUILDER_ASSETS; the cache; a build into the cache. The build makes one program
that is any of `PROGRAMS` and `NODE_PROGRAMS` by the name that it is called by.

Run as a program (`PYTHONPATH=tests python -m cluster.binaries`), this makes sure that the programs are there, so it
needs the standard library alone.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.go_programs import BuildError, Progress, build, cache_folder, find_go, locked, required, system_key

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
NODE_PROGRAMS = ("kubelet", "kube-proxy")

_SOURCES = Path(__file__).resolve().parent / "kube"


class BinariesError(BuildError):
    """The Kubernetes programs could neither be found nor built."""


def find_binaries(
    environment: Mapping[str, str] | None = None, *, programs: Sequence[str] = PROGRAMS
) -> dict[str, Path]:
    """Return the path of each program, building what is in neither KUBEBUILDER_ASSETS nor the cache.

    Args:
        environment: Environment variables; None takes this process's.
        programs: Which of `PROGRAMS` and `NODE_PROGRAMS`.

    Raises:
        BuildError: When KUBEBUILDER_ASSETS is no folder, or a build fails; the message holds the end of its output.
    """
    environment = os.environ if environment is None else environment
    found: dict[str, Path] = {}
    if assets := environment.get("KUBEBUILDER_ASSETS"):
        folder = Path(assets).resolve()
        if not folder.is_dir():
            raise BinariesError(f"KUBEBUILDER_ASSETS names {folder}, which is no folder: correct it or unset it")
        found = {name: folder / name for name in programs if os.access(folder / name, os.X_OK)}
    if missing := [name for name in programs if name not in found]:
        built = _cached_build(cache_folder(environment), environment)
        found |= {name: built / name for name in missing}
    return found


def build_key() -> str:
    """Return a name for what a build would make: it changes with the sources, the build's flags and the platform."""
    digest = hashlib.sha256()
    for name in ("main.go", "go.mod", "go.sum"):
        digest.update((_SOURCES / name).read_bytes() + b"\0")
    digest.update("\0".join(_build_flags()).encode())
    return f"{system_key()}-{digest.hexdigest()[:16]}"


def _build_flags() -> list[str]:
    version = required("k8s.io/kubernetes", _SOURCES / "go.mod")
    major, minor, _ = version.removeprefix("v").split(".", 2)
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    stamped = "".join(f" -X k8s.io/component-base/version.{name}={value}" for name, value in stamps.items())
    return ["-trimpath", "-buildvcs=false", f"-ldflags=-s -w{stamped}"]


def _cached_build(cache: Path, environment: Mapping[str, str]) -> Path:
    """Return the folder of the build, made now when it is not in the cache."""
    built = cache / "kube" / build_key()
    if _is_complete(built):
        return built
    built.parent.mkdir(parents=True, exist_ok=True)
    progress = Progress()
    with locked(built.parent / "lock", progress):
        if not built.is_dir():
            _build_into(built, cache, environment, progress)
        for name in (*PROGRAMS, *NODE_PROGRAMS):
            if not (built / name).is_symlink():
                (built / name).symlink_to("kube")
    return built


def _is_complete(built: Path) -> bool:
    return all((built / name).exists() for name in (*PROGRAMS, *NODE_PROGRAMS))


def _build_into(built: Path, cache: Path, environment: Mapping[str, str], progress: Progress) -> None:
    version = required("k8s.io/kubernetes", _SOURCES / "go.mod")
    progress.say(
        f"Building Kubernetes {version} for the tests: about 6 minutes on 2 cores the first time, kept in {built}"
    )
    unfinished = built.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    go = find_go(cache, environment, progress, go_mod=_SOURCES / "go.mod")
    build(unfinished / "kube", go, environment, progress, sources=_SOURCES, flags=_build_flags())
    unfinished.rename(built)
    progress.say("Kubernetes is built")


def main() -> int:
    """Make sure that the programs are there."""
    try:
        find_binaries()
    except BuildError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; the next run goes on from here\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
