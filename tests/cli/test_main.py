"""The command line as a user calls it."""

import socket
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import click
import pytest
import yaml

from heliograph.main import main

Cli = Callable[..., subprocess.CompletedProcess[str]]
SUBCOMMANDS = ["serve", "run", "crd", "import", "plan", "check", "operator", "gateway", "runtime", "fetch", "collect"]

# As if a package of an extra were not installed, for this process and those that it starts.
BLOCKER = """
import sys
from importlib.machinery import PathFinder
class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {blocked!r} else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
"""


@pytest.fixture
def without(tmp_path: Path, cli: Cli) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`heliograph ARGUMENTS` where packages are missing."""

    def run(blocked: set[str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        (tmp_path / "sitecustomize.py").write_text(BLOCKER.format(blocked=blocked))
        return cli(*arguments, env={"PYTHONPATH": str(tmp_path)})

    return run


@pytest.mark.parametrize("arguments", [[], *([name] for name in SUBCOMMANDS)])
def test_help(cli: Cli, arguments: list[str]) -> None:
    done = cli(*arguments, "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: ")


def test_help_names_every_subcommand(cli: Cli) -> None:
    text = cli("--help").stdout

    assert [name for name in SUBCOMMANDS if f"\n  {name} " in text] == SUBCOMMANDS


@pytest.mark.parametrize("part", ["operator", "gateway", "runtime", "fetch", "collect"])
def test_every_option_of_a_part_is_explained(part: str) -> None:
    """A field of the settings without a docstring would leave its option bare."""
    command = main.commands[part]
    options = [option for option in command.get_params(click.Context(command)) if isinstance(option, click.Option)]

    assert len(options) > 2
    assert [option.name for option in options if not option.help or option.help.startswith("[")] == []


def test_version(cli: Cli) -> None:
    assert cli("--version").stdout.strip().endswith(version("heliograph"))


def test_help_crd_import_and_plan_need_no_extra(
    without: Callable[..., subprocess.CompletedProcess[str]], root: Path, tmp_path: Path
) -> None:
    blocked = {"fastapi", "starlette", "uvicorn", "httpx", "kopf", "kubernetes", "torch", "diffusers", "PIL", "numpy"}
    helps = [[name, "--help"] for name in ("serve", "operator", "gateway", "import")]
    for arguments in [["--help"], *helps, ["run"], ["crd"], ["plan", str(root / "examples" / "tiny.yaml")]]:
        done = without(blocked, *arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments
    localai = tmp_path / "flux.yaml"
    localai.write_text("name: flux\nbackend: diffusers\nparameters: {model: black-forest-labs/FLUX.1-schnell}\n")
    imported = without(blocked, "import", localai)
    assert (imported.returncode, "kind: ImageModel" in imported.stdout) == (0, True), imported.stderr


@pytest.mark.parametrize(
    ("arguments", "blocked", "extra"),
    [
        (["operator"], "kopf", "operator"),
        (["gateway"], "fastapi", "gateway"),
        (["runtime", "--manifest", "model.json"], "fastapi", "diffusers"),
        (["fetch", "--manifest", "model.json", "--volume", "weights", "--name", "tiny"], "obstore", "fetch"),
        (["serve", "EXAMPLE"], "uvicorn", "gateway,diffusers"),
        (["run", "tiny"], "uvicorn", "gateway,diffusers"),
        (["serve", "EXAMPLE"], "diffusers", "gateway,diffusers"),
    ],
)
def test_a_missing_extra_is_named(
    without: Callable[..., subprocess.CompletedProcess[str]],
    root: Path,
    arguments: list[str],
    blocked: str,
    extra: str,
) -> None:
    example = str(root / "examples" / "tiny.yaml")
    done = without({blocked}, *(example if part == "EXAMPLE" else part for part in arguments))

    assert done.returncode == 1
    assert done.stderr == (
        f"Error: `heliograph {arguments[0]}` needs the package {blocked}, which is not installed; "
        f"run: pip install '.[{extra}]' in a checkout, or pip install 'FILE.whl[{extra}]' with Heliograph's wheel\n"
    )


def test_crd_is_the_checked_in_one(cli: Cli, root: Path) -> None:
    (path,) = (root / "crds").glob("*.yaml")

    assert cli("crd").stdout == path.read_text()


def test_run_lists_the_examples(cli: Cli, root: Path) -> None:
    listed = dict(line.split("\t") for line in cli("run").stdout.splitlines())

    assert listed["tiny"] == yaml.safe_load((root / "examples" / "tiny.yaml").read_text())["spec"]["description"]


def test_run_names_the_examples_when_asked_for_another(cli: Cli) -> None:
    done = cli("run", "giant")

    problem = "there is no example 'giant'; choose one of: tiny, tiny-flux"
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"Error: NAME: {problem}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "0.0.0.0"], "Error: --host: on 0.0.0.0 others could reach the models without a key; "),
        (["--port", "99999"], "Error: Invalid value for '--port': 99999 is not in the range"),
        (["--models-dir", "/nowhere"], "Error: Invalid value for '--models-dir': "),
    ],
)
def test_bad_options_of_serve(cli: Cli, root: Path, options: list[str], message: str) -> None:
    done = cli("serve", root / "examples" / "tiny.yaml", *options, env={"HELIOGRAPH_API_KEY": ""})

    assert done.returncode in {1, 2}
    assert done.stderr.splitlines()[-1].startswith(message)
    assert "Traceback" not in done.stderr


def test_serve_refuses_a_port_in_use_before_it_loads_anything(cli: Cli, root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = cli("serve", root / "examples" / "tiny.yaml", "--port", port)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"Error: --port: {port} on 127.0.0.1 is in use; stop what listens there, or choose another port\n"
    )


def test_serve_refuses_bad_manifests(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("step: -1\nparameters: {model: a}\n")
    done = cli("serve", path)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: {path}: spec.step: ")
    assert len(done.stderr.splitlines()) == 1


def test_serve_refuses_what_is_not_there(cli: Cli) -> None:
    done = cli("serve", "nowhere.yaml")

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "Error: Invalid value for 'PATH...': Path 'nowhere.yaml' does not exist."


def test_serve_refuses_aliases_alone(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "alias.yaml"
    path.write_text("name: a\nalias: b\n")
    done = cli("serve", path)

    assert done.returncode == 1
    assert "only aliases and disabled models are named here" in done.stderr.splitlines()[-1]
