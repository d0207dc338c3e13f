"""The wheel, built and installed in an empty environment: the base is small, and torch comes with `diffusers` alone."""

import re
import shutil
import subprocess
import sys
import venv
import zipfile
from email.parser import Parser
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = ["operator", "gateway", "diffusers", "sdcpp", "fetch", "dev"]
IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
print("torch" in sys.modules)
"""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, cwd=root)
    (built,) = target.glob("heliograph-*.whl")
    return built


@pytest.fixture(scope="module")
def constraints(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lock's versions without their hashes, so that tomorrow's releases change nothing here."""
    target = tmp_path_factory.mktemp("constraints") / "constraints.txt"
    pins = re.findall(r"^\S[^\\\n]*", (root / "requirements" / "dev.lock").read_text(), re.MULTILINE)
    target.write_text("\n".join(pins))
    return target


def install(wheel: Path, extras: str, constraints: Path, home: Path) -> Path:
    """Install the wheel in a new environment at `home` and return the environment's interpreter."""
    venv.create(home, symlinks=True, with_pip=False)
    python = home / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "--quiet")
    run(*pip, "--constraint", constraints, f"{wheel}{extras}", cwd=home)
    return python


@pytest.fixture(scope="module")
def bare(wheel: Path, constraints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(wheel, "", constraints, tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def control_plane(wheel: Path, constraints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(wheel, "[operator,gateway]", constraints, tmp_path_factory.mktemp("control-plane"))


def installed(python: Path) -> set[str]:
    listing = run(sys.executable, "-m", "pip", "--python", python, "list", "--format=freeze", cwd=python.parent)
    return {canonicalize_name(line.split("==")[0].split(" @ ")[0]) for line in listing.splitlines()}


@pytest.fixture(scope="module")
def requirements(wheel: Path) -> list[Requirement]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    return [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]


def applying(requirements: list[Requirement], extra: str) -> list[Requirement]:
    return [
        requirement
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra})
    ]


def tree(requirements: list[Requirement], extras: list[str]) -> set[str]:
    """Return every distribution that installing the wheel with extras brings, by what is installed here."""
    found: set[tuple[str, str]] = set()
    waiting = [requirement for extra in ["", *extras] for requirement in applying(requirements, extra)]
    while waiting:
        requirement = waiting.pop()
        known = requirements
        if requirement.name != "heliograph":
            known = [Requirement(line) for line in distribution(requirement.name).requires or []]
        for extra in ["", *requirement.extras]:
            if (requirement.name, extra) not in found:
                found.add((requirement.name, extra))
                waiting += applying(known, extra)
    return {canonicalize_name(name) for name, _ in found}


def test_base_install_answers_help(bare: Path) -> None:
    assert "serve" in run(bare.with_name("heliograph"), "--help", cwd=bare.parent)


def test_base_install_prints_the_crd(bare: Path, root: Path) -> None:
    printed = run(bare.with_name("heliograph"), "crd", cwd=bare.parent)

    assert [(manifest["kind"], manifest["metadata"]["name"]) for manifest in yaml.safe_load_all(printed)] == [
        ("CustomResourceDefinition", "imagemodels.heliograph.dev"),
        ("ValidatingAdmissionPolicy", "imagemodels.heliograph.dev"),
        ("ValidatingAdmissionPolicyBinding", "imagemodels.heliograph.dev"),
    ]
    assert printed == (root / "crds" / "imagemodels.heliograph.dev.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (["check", "http://127.0.0.1:1"], "gateway"),
        (["fetch", "--manifest", "tiny.yaml", "--volume", ".", "--name", "tiny"], "fetch"),
        (["gateway"], "gateway"),
        (["keys", "list"], "gateway"),
        (["operator"], "operator"),
        (["run", "tiny"], "gateway,diffusers"),
        (["runtime", "--manifest", "tiny.yaml", "--models-dir", "."], "diffusers"),
        (["serve", "tiny.yaml"], "gateway,diffusers"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_base_install_says_what_else_a_command_needs(
    bare: Path, root: Path, tmp_path: Path, command: list[str], extra: str
) -> None:
    shutil.copy(root / "examples" / "tiny.yaml", tmp_path)
    heliograph = bare.with_name("heliograph")
    assert run(heliograph, command[0], "--help", cwd=tmp_path).startswith(f"Usage: heliograph {command[0]} ")

    done = subprocess.run([heliograph, *command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: `heliograph {command[0]}` needs the package ")
    assert f"pip install 'FILE.whl[{extra}]' with Heliograph's wheel" in done.stderr
    assert "Traceback" not in done.stderr


def test_base_install_leaves_nothing_behind(wheel: Path, constraints: Path, tmp_path: Path) -> None:
    python = install(wheel, "", constraints, tmp_path)
    assert run(python.with_name("heliograph"), "crd", cwd=tmp_path)  # compiles modules

    run(sys.executable, "-m", "pip", "--python", python, "uninstall", "--yes", "--quiet", "heliograph", cwd=tmp_path)

    assert [path for path in tmp_path.rglob("*") if "heliograph" in path.name] == []


def test_base_install_is_small(bare: Path, requirements: list[Requirement]) -> None:
    names = installed(bare)

    assert names == tree(requirements, []) | {"heliograph"}
    assert names.isdisjoint({"torch", "diffusers", "numpy", "pillow", "kopf", "kubernetes", "fastapi"})


def test_control_plane_imports_with_its_extras_and_without_torch(control_plane: Path) -> None:
    packages = ("heliograph_api", "heliograph_operator", "heliograph_gateway", "heliograph")

    assert run(control_plane, "-c", IMPORT_ALL, *packages, cwd=control_plane.parent).strip() == "False"
    assert installed(control_plane).isdisjoint({"torch", "diffusers", "transformers", "numpy", "pillow"})


def test_metadata_names_torch_under_diffusers_alone(requirements: list[Requirement]) -> None:
    """And under `dev`, which is the other extras and the tools."""
    torch = {extra for extra in ["", *EXTRAS] if "torch" in {found.name for found in applying(requirements, extra)}}

    assert torch == {"diffusers", "dev"}


@pytest.mark.parametrize(
    ("extras", "torch"),
    [([], False), (["operator"], False), (["gateway"], False), (["operator", "gateway"], False), (["diffusers"], True)],
)
def test_only_diffusers_brings_torch(requirements: list[Requirement], extras: list[str], torch: bool) -> None:
    assert ("torch" in tree(requirements, extras)) is torch


def test_wheel_holds_the_packages_and_the_catalogue_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name}

    assert top == {"heliograph_api", "heliograph_operator", "heliograph_gateway", "heliograph_runtime", "heliograph"}
    assert {name for name in names if name.endswith("py.typed")} == {f"{package}/py.typed" for package in top}
    assert "heliograph/catalogue/tiny.yaml" in names
    assert "heliograph/catalogue/tiny-model/model/model_index.json" in names
    assert {"heliograph/catalogue/tiny-flux.yaml", "heliograph/catalogue/tiny-flux/flux.gguf"} <= set(names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_wheel_holds_every_file_of_the_pages(wheel: Path, root: Path) -> None:
    static = "heliograph_gateway/page/static"
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith(f"{static}/")}

    gateway = root / "gateway"
    assert packed == {str(it.relative_to(gateway)) for it in (gateway / static).rglob("*") if it.is_file()}
    assert f"{static}/playground.html" in packed
