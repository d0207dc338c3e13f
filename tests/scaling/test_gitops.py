"""What Git tools do to the number of replicas, by the two ways in which they apply (docs/scaling.md)."""

import json
from pathlib import Path

import pytest

from cluster.control_plane import ControlPlane
from scaling.installed import image_model

WAYS = {
    "client-side": ("apply",),
    "server-side": ("apply", "--server-side", "--force-conflicts", "--field-manager=kustomize-controller"),
}


class Git:
    """A manifest in a repository, applied again and again."""

    def __init__(self, cluster: ControlPlane, namespace: str, way: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._way = WAYS[way]

    def sync(self, *, replicas: int | None, idle_seconds: int = 60) -> int:
        """Apply the manifest, and return how many replicas the model has then."""
        obj = image_model("tiny", replicas=replicas or 0, scaling={"min": 0, "idleSeconds": idle_seconds})
        if replicas is None:
            del obj["spec"]["serving"]["replicas"]
        self._kubectl(*self._way, "--filename", "-", text=json.dumps(obj))
        found = json.loads(self._kubectl("get", "imagemodel/tiny", "--output", "json"))["spec"]["serving"]
        assert found["scaling"]["idleSeconds"] == idle_seconds
        return int(found["replicas"])

    def scale(self, replicas: int) -> None:
        """Do what a gateway or the autoscaler does."""
        self._kubectl("scale", "imagemodel/tiny", f"--replicas={replicas}")

    def _kubectl(self, *arguments: str | Path, text: str | None = None) -> str:
        return self._cluster.kubectl("--namespace", self._namespace, *arguments, input=text).stdout


@pytest.fixture(params=WAYS)
def git(imagemodels: ControlPlane, namespace: str, request: pytest.FixtureRequest) -> Git:
    return Git(imagemodels, namespace, request.param)


def test_a_manifest_that_leaves_the_replicas_out_leaves_them_alone(git: Git) -> None:
    assert git.sync(replicas=None) == 1
    for size in (0, 3):
        git.scale(size)
        assert git.sync(replicas=None, idle_seconds=60 + size) == size


def test_a_manifest_that_names_the_replicas_undoes_every_change(git: Git) -> None:
    assert git.sync(replicas=1) == 1
    git.scale(0)
    assert git.sync(replicas=1, idle_seconds=61) == 1


def test_taking_the_replicas_out_of_a_manifest(git: Git, request: pytest.FixtureRequest) -> None:
    assert git.sync(replicas=2) == 2
    git.scale(3)
    assert (
        git.sync(replicas=None, idle_seconds=61)
        == {"client-side": 1, "server-side": 3}[request.node.callspec.params["git"]]
    )
    git.scale(3)
    assert git.sync(replicas=None, idle_seconds=62) == 3
