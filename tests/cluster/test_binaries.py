"""The Kubernetes programs are looked for in the documented order, and built once."""

import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cluster import binaries
from cluster.binaries import NODE_PROGRAMS, PROGRAMS, BinariesError, build_key, find_binaries
from cluster.go_programs import BuildError, cache_folder, go_version

SOURCES = Path(__file__).parent / "kube"


@pytest.fixture
def small_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sources that build in a moment: the real go.mod, and a program that needs none of it."""
    folder = tmp_path / "sources"
    shutil.copytree(SOURCES, folder)
    (folder / "main.go").write_text(
        'package main\n\nimport "os"\n\nfunc main() { os.Stdout.WriteString(os.Args[0]) }\n'
    )
    monkeypatch.setattr(binaries, "_SOURCES", folder)
    return folder


def environment(cache: Path) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "KUBEBUILDER_ASSETS"}
    return {**kept, "HELIOGRAPH_CACHE": str(cache)}


def make_programs(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch(mode=0o755)
    return folder


def test_assets_go_before_the_cache(tmp_path: Path) -> None:
    assets = make_programs(tmp_path / "assets", "etcd", "kube-apiserver", "kubectl")
    cached = make_programs(tmp_path / "kube" / build_key(), *PROGRAMS, *NODE_PROGRAMS)
    found = find_binaries({"KUBEBUILDER_ASSETS": str(assets), "HELIOGRAPH_CACHE": str(tmp_path)})
    assert found == {
        "etcd": assets / "etcd",
        "kube-apiserver": assets / "kube-apiserver",
        "kube-controller-manager": cached / "kube-controller-manager",
        "kube-scheduler": cached / "kube-scheduler",
        "kubectl": assets / "kubectl",
    }


def test_complete_assets_need_no_cache(tmp_path: Path) -> None:
    assets = make_programs(tmp_path / "assets", *PROGRAMS)
    found = find_binaries({"KUBEBUILDER_ASSETS": str(assets), "HELIOGRAPH_CACHE": str(tmp_path / "cache")})
    assert found == {name: assets / name for name in PROGRAMS}
    assert not (tmp_path / "cache").exists()


def test_assets_that_are_no_folder_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(BinariesError, match=r"KUBEBUILDER_ASSETS names .*/absent, which is no folder"):
        find_binaries({"KUBEBUILDER_ASSETS": str(tmp_path / "absent")})


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"HELIOGRAPH_CACHE": "/own", "XDG_CACHE_HOME": "/xdg"}, Path("/own")),
        ({"XDG_CACHE_HOME": "/xdg"}, Path("/xdg/heliograph")),
        ({}, (Path.home() / ".cache" / "heliograph").resolve()),
    ],
)
def test_cache_folder(variables: dict[str, str], folder: Path) -> None:
    assert cache_folder(variables) == folder


@pytest.mark.parametrize("variable", ["HELIOGRAPH_CACHE", "XDG_CACHE_HOME"])
def test_cache_folder_has_no_links_in_its_path(tmp_path: Path, variable: str) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    assert cache_folder({variable: str(tmp_path / "link")}).is_relative_to(tmp_path / "disk")


@pytest.mark.parametrize("name", ["main.go", "go.mod", "go.sum"])
def test_other_sources_are_another_build(small_sources: Path, name: str) -> None:
    before = build_key()
    with (small_sources / name).open("a") as source:
        source.write("// changed\n")
    assert build_key() != before


@pytest.mark.parametrize(
    ("answer", "version"),
    [("go1.26.8", (1, 26, 8)), ("go1.25rc1", (1, 25, 0)), ("devel go1.27-0d3a", (1, 27, 0)), ("", ())],
)
def test_go_version(tmp_path: Path, answer: str, version: tuple[int, ...]) -> None:
    go = tmp_path / "go"
    go.write_text(f"#!/bin/sh\necho '{answer}'\n")
    go.chmod(0o755)
    assert go_version(str(go), os.environ) == version


def test_go_that_does_not_run_is_no_toolchain(tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.touch(mode=0o755)
    assert go_version(str(go), os.environ) == ()


def test_two_runs_build_once(small_sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "cache"
    make_programs(cache / "kube" / f"{build_key()}.unfinished", "left by a run that was killed")
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(find_binaries, environment(cache)) for _ in range(2)]
    assert runs[0].result() == runs[1].result()
    assert capsys.readouterr().err.count("Building Kubernetes v1.") == 1
    built = cache / "kube" / build_key()
    assert {path.name for path in built.iterdir()} == {"kube", *PROGRAMS, *NODE_PROGRAMS}
    find_binaries(environment(cache))
    assert capsys.readouterr().err == "", "quiet when nothing is to do"


def test_a_build_that_fails_shows_why_and_is_not_kept(small_sources: Path, tmp_path: Path) -> None:
    (small_sources / "main.go").write_text("package main\n\nfunc main() { absent() }\n")
    with pytest.raises(BuildError, match="undefined: absent"):
        find_binaries(environment(tmp_path / "cache"))
    assert not (tmp_path / "cache" / "kube" / build_key()).exists()
