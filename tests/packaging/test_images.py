"""What the Containerfiles promise, as far as it can be told without building them; tests/node runs the images."""

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CONTAINERFILES = sorted(path.name for path in (ROOT / "images").glob("*.Containerfile"))
IMAGES = [name for name in CONTAINERFILES if name != "debian.Containerfile"]
SHARED_STAGES = ("tools", "wheel")


@dataclass(frozen=True)
class Stage:
    base: str
    name: str
    instructions: tuple[tuple[str, str], ...]

    def values(self, keyword: str) -> list[str]:
        return [value for name, value in self.instructions if name == keyword]


def read(file: str) -> tuple[dict[str, str], list[Stage]]:
    """Return the arguments before the first stage, and the stages."""
    text = (ROOT / "images" / file).read_text(encoding="utf-8")
    assert not re.search(r"^#\s*syntax\s*=", text, re.MULTILINE), "an older BuildKit would have to fetch its front end"
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    logical = re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines()
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in filter(str.strip, logical):
        keyword, _, value = line.partition(" ")
        if keyword == "FROM":
            base, _, alias = value.partition(" AS ")
            stages.append(Stage(base, alias, ()))
        elif stages:
            last = stages.pop()
            stages.append(Stage(last.base, last.name, (*last.instructions, (keyword, value))))
        else:
            assert keyword == "ARG", line
            name, _, default = value.partition("=")
            arguments[name] = default
    return arguments, stages


def lineage(name: str, variant: str) -> list[Stage]:
    """Return the last stage and those that it is made from, down to the base."""
    arguments, stages = read(name)
    arguments["VARIANT"] = variant
    by_name = {stage.name: stage for stage in stages}
    found = [stages[-1]]
    while (base := re.sub(r"\$\{(\w+)\}", lambda it: arguments[it[1]], found[-1].base)) in by_name:
        found.append(by_name[base])
    return found


@pytest.mark.parametrize("variant", ["cpu", "cuda"])
@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_made_on_the_base_that_is_asked_for(name: str, variant: str) -> None:
    arguments, _ = read(name)

    assert lineage(name, variant)[-1].base == "${BASE}"
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", arguments["BASE"])
    assert arguments["BUILD_BASE"] == "${BASE}"


@pytest.mark.parametrize("variant", ["cpu", "cuda"])
@pytest.mark.parametrize("name", IMAGES)
def test_an_image_runs_as_nobody_and_ends_on_sigterm(name: str, variant: str) -> None:
    last = lineage(name, variant)[0]

    assert last.values("USER") == ["65532:65532"]
    assert last.instructions.index(("USER", "65532:65532")) > max(
        (index for index, (keyword, _) in enumerate(last.instructions) if keyword in {"RUN", "COPY"}), default=-1
    )
    assert last.values("STOPSIGNAL") == ["SIGTERM"]
    assert [json.loads(value) for value in last.values("ENTRYPOINT")] == [["heliograph"]]
    assert "PATH=/opt/heliograph/bin:" in last.values("ENV")[0]


@pytest.mark.parametrize("variant", ["cpu", "cuda"])
@pytest.mark.parametrize("name", IMAGES)
def test_no_layer_on_the_base_holds_a_compiler_or_pip(name: str, variant: str) -> None:
    """Its stages install nothing of Debian's, and see pip of another stage as a mount that is gone afterwards."""
    for stage in lineage(name, variant):
        for command in stage.values("RUN"):
            assert "apt-get" not in command
            assert "pip install" not in command
            assert "--mount=type=bind,from=tools,source=/opt/tools,target=/mnt" in command
        assert not stage.values("COPY")
        assert not stage.values("ADD")


@pytest.mark.parametrize("name", IMAGES)
def test_what_pip_must_know_is_a_secret_and_nothing_of_it_an_argument(name: str) -> None:
    arguments, stages = read(name)
    declared = {value.partition("=")[0] for stage in stages for value in stage.values("ARG")}

    assert declared | arguments.keys() <= {
        "BASE",
        "BUILD_BASE",
        "VARIANT",
        "VERSION",
        "SOURCE_DATE_EPOCH",
        "CMAKE_ARGS",
        "CUDA_ARCHITECTURES",
    }
    for stage in stages:
        for command in stage.values("RUN"):
            if re.search(r"install\.py (tools|packages|compile)", command):
                assert "--mount=type=secret,id=pip.conf,target=/media/pip.conf" in command
                # Else the mounts would leave empty files in the layer.
                assert command.startswith("--mount=type=tmpfs,target=/media ")


def test_stages_that_all_share_are_alike_so_that_they_are_built_once() -> None:
    for shared in SHARED_STAGES:
        texts = {stage for name in IMAGES for stage in read(name)[1] if stage.name == shared}
        assert len(texts) == 1, f"stage {shared} differs between Containerfiles"


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_says_what_it_is(name: str) -> None:
    last = lineage(name, "cpu")[0]
    (labels,) = last.values("LABEL")
    found = dict(re.findall(r'org\.opencontainers\.image\.([a-z.]+)="([^"]*)"', labels))

    assert found.keys() == {"title", "description", "version", "licenses", "base.name"}
    assert found["title"] == f"heliograph-{name.removesuffix('.Containerfile')}"
    assert found["licenses"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"]
    assert any(
        f"sbom.py {found['title']} " in command for stage in lineage(name, "cpu") for command in stage.values("RUN")
    )


def test_there_is_an_image_for_every_name_in_the_chart(root: Path, recipes: ModuleType) -> None:
    values = yaml.safe_load((root / "charts" / "heliograph" / "values.yaml").read_text())
    chart = yaml.safe_load((root / "charts" / "heliograph" / "Chart.yaml").read_text())
    wanted = {values["operator"]["image"], values["gateway"]["image"], values["weights"]["image"]}
    wanted |= set(values["runtime"]["images"].values())

    assert wanted == {recipe.name for recipe in recipes.RECIPES}
    assert recipes.version(root) == chart["appVersion"]


def test_every_image_has_a_containerfile_and_every_containerfile_an_image(recipes: ModuleType) -> None:
    assert {recipe.containerfile for recipe in recipes.RECIPES} == set(IMAGES)
    for recipe in recipes.RECIPES:
        assert (recipe.variant is not None) == ("VARIANT" in read(recipe.containerfile)[0])
        assert recipe.name.endswith("-cuda") == (recipe.variant == "cuda")


@pytest.mark.parametrize("name", IMAGES)
def test_sources_that_an_image_needs_reach_the_daemon(root: Path, recipes: ModuleType, name: str) -> None:
    allowed = {line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    found = recipes.sources(root, name)
    assert {"pyproject.toml", "operator", "images/install.py", "requirements/pip.lock"} <= set(found)
    for source in found:
        assert (root / source).exists()
        assert source.split("/")[0] in allowed


def test_the_base_of_debians_packages_keeps_one_layer_of_what_is_left() -> None:
    arguments, stages = read("debian.Containerfile")

    assert arguments == {"BOOTSTRAP": ""}
    assert [stage.base for stage in stages] == ["${BOOTSTRAP}", "scratch"]
    assert stages[-1].values("COPY") == ["--from=trimmed / /"]
    (trimming,) = stages[0].values("RUN")
    gone = set(trimming.partition('gone="')[2].partition('"')[0].split())
    assert {"apt", "bash", "perl-base", "python3-pip-whl", "mount"} <= gone
    assert gone.isdisjoint({"ca-certificates", "coreutils", "dpkg", "openssl", "python3", "python3.11", "tzdata"})
