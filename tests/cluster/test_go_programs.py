"""Go programs are built from a module of the checkout once, and again when its sources change."""

import os
import subprocess
from pathlib import Path

import pytest

from cluster.go_programs import BuildError, go_program, required

MAIN = 'package main\n\nimport "os"\n\nfunc main() { os.Stdout.WriteString("hello") }\n'


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "module"
    (folder / "greeting").mkdir(parents=True)
    (folder / "go.mod").write_text("module example.invalid/greeting\n\ngo 1.24.0\n")
    (folder / "go.sum").touch()
    (folder / "greeting" / "main.go").write_text(MAIN)
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "HELIOGRAPH_CACHE": str(tmp_path / "cache")}


def test_a_program_is_built_once_and_again_when_it_changes(module: Path, environment: dict[str, str]) -> None:
    program, is_new = go_program("greeting", module, package="./greeting", environment=environment)
    assert is_new
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == "hello"
    assert go_program("greeting", module, package="./greeting", environment=environment) == (program, False)

    (module / "greeting" / "main.go").write_text(MAIN.replace("hello", "goodbye"))
    changed, is_new = go_program("greeting", module, package="./greeting", environment=environment)
    assert is_new
    assert changed != program
    assert subprocess.run([changed], capture_output=True, text=True, check=True).stdout == "goodbye"


def test_a_build_that_fails_says_why_and_leaves_nothing(module: Path, environment: dict[str, str]) -> None:
    (module / "greeting" / "main.go").write_text("package main\n\nfunc main() { absent() }\n")
    with pytest.raises(BuildError, match="undefined: absent"):
        go_program("greeting", module, package="./greeting", environment=environment)
    assert [path.name for path in (Path(environment["HELIOGRAPH_CACHE"]) / "greeting").iterdir()] == ["lock"]


def test_a_module_whose_sums_lack_a_dependency_is_not_built(module: Path, environment: dict[str, str]) -> None:
    (module / "go.mod").write_text(f"{(module / 'go.mod').read_text()}\nrequire golang.org/x/text v0.30.0\n")
    (module / "greeting" / "main.go").write_text('package main\n\nimport _ "golang.org/x/text"\n\nfunc main() {}\n')
    with pytest.raises(BuildError, match=r"missing go.sum entry"):
        go_program("greeting", module, package="./greeting", environment=environment)


def test_required_versions_are_read_from_go_mod(module: Path) -> None:
    assert required("go", module / "go.mod") == "1.24.0"
    with pytest.raises(BuildError, match=r"no line for golang\.org/x/text"):
        required("golang.org/x/text", module / "go.mod")
