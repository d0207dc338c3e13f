"""What the documentation shows is what there is."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cluster.control_plane import ControlPlane
from heliograph_operator.settings import OperatorSettings

LINK = re.compile(r"\]\(([^)#:]+)\)")


def documents(root: Path) -> list[Path]:
    found = [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("examples/**/*.md")]
    assert len(found) > 8
    return found


def test_links_lead_somewhere(root: Path) -> None:
    broken = [
        f"{document.relative_to(root)}: {target}"
        for document in documents(root)
        for target in LINK.findall(document.read_text(encoding="utf-8"))
        if not (document.parent / target).exists()
    ]

    assert broken == []


def test_paths_of_the_architecture_exist(root: Path) -> None:
    text = (root / "ARCHITECTURE.md").read_text(encoding="utf-8")
    paths = set(
        re.findall(
            r"`((?:operator|gateway|runtime|cli|crds|charts|examples|tests|docs|scripts|requirements)/[^`]*)`", text
        )
    )

    assert len(paths) > 12
    assert [path for path in sorted(paths) if not (root / path).exists()] == []


@pytest.mark.parametrize("command", ["serve", "run"])
def test_every_option_of_serve_is_described(
    root: Path, cli: Callable[..., subprocess.CompletedProcess[str]], command: str
) -> None:
    options = set(re.findall(r"--[a-z-]+", cli(command, "--help").stdout)) - {"--help"}
    described = set(re.findall(r"^\| `(--[a-z-]+)", (root / "docs" / "serve.md").read_text(), re.MULTILINE))

    assert described == options


def test_manifests_of_the_kubernetes_guide_are_taken(root: Path, imagemodels: ControlPlane, namespace: str) -> None:
    text = (root / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)

    objects = "---\n".join(block for block in blocks if block.startswith("apiVersion:"))
    answer = imagemodels.kubectl("apply", "--dry-run=server", "-n", namespace, "-f", "-", input=objects).stdout
    assert re.findall(r"^(\S+) created", answer, re.MULTILINE) == [
        "imagemodel.heliograph.dev/flux.1-dev",
    ]


def test_profiles_of_the_kubernetes_guide_are_taken(root: Path) -> None:
    text = (root / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(runtime:\n.*?)^```$", text, re.DOTALL | re.MULTILINE)
    runtime = yaml.safe_load(block)["runtime"]
    assert OperatorSettings(gpu_profile=runtime["gpuProfile"], profiles=runtime["profiles"]).gpu_profile
