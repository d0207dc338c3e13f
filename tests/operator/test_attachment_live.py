"""Where the real scheduler places pods whose volume can be attached to one node at a time."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.control_plane import ControlPlane
from cluster.nodes import TOLERATION, nodes
from cluster.waiting import eventually
from heliograph_api import naming
from operator_rig import Served, running_operator

NODES = ("left", "right")
SERVING: dict[str, Any] = {"tolerations": [TOLERATION], "replicas": 1}


@pytest.fixture
def placed(imagemodels: ControlPlane, unserved: Served, tmp_path: Path) -> Iterator[Served]:
    """A namespace with an operator, volumes for its claims, and two nodes of the same kind."""
    name = unserved.namespace
    volume = {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "100Gi"},
        "csi": {"driver": "volumes.example.org", "volumeHandle": name},
        "storageClassName": name,
    }
    manifest = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": volume}
    unserved.kubectl("apply", "-f", "-", input=json.dumps(manifest))
    with (
        nodes(imagemodels.admin, {node: {} for node in NODES}),
        running_operator(tmp_path, unserved.kubeconfig, "--namespaces", name) as operator,
    ):
        operator.wait_until_ready()
        yield unserved
        unserved.kubectl("delete", "imagemodels", "--all")
        unserved.kubectl("delete", "jobs,deployments", "--all", "--cascade=orphan")
        unserved.kubectl("delete", "pods", "--all", "--force", "--grace-period=0")
    imagemodels.admin.delete(f"/api/v1/persistentvolumes/{name}").raise_for_status()


def cordon(served: Served, node: str, *, shut: bool = True) -> None:
    served.kubectl("cordon" if shut else "uncordon", node)


def pods(served: Served, name: str, component: str) -> list[dict[str, Any]]:
    """Return the pods of a model that have a node."""
    found = served.items("Pod", **{naming.MODEL_LABEL: naming.child_name(name), naming.COMPONENT_LABEL: component})
    return [pod for pod in found if pod["spec"].get("nodeName")]


def runtimes(served: Served, name: str, count: int) -> list[dict[str, Any]]:
    """Wait until so many replicas of a model have a node, and return them."""

    def find() -> list[dict[str, Any]] | None:
        found = pods(served, name, "runtime")
        return found if len(found) == count else None

    return eventually(find, what=f"{count} replicas of {name} with a node")


def node_of(served: Served, name: str, component: str = "runtime", *, but: str = "") -> str:
    """Wait until a pod of a model has a node that is not of the Job `but`, and return the node."""

    def find() -> str | None:
        meant = (pod for pod in pods(served, name, component) if not but or not pod["metadata"]["name"].startswith(but))
        return next((str(pod["spec"]["nodeName"]) for pod in meant), None)

    return eventually(find, what=f"node of a {component} of {name}")


def fill(served: Served, name: str) -> str:
    """Have the Job of a model end well, and return its name."""
    (pod,) = pods(served, name, "fetcher")
    path = f"/api/v1/namespaces/{served.namespace}/pods/{pod['metadata']['name']}/status"
    media_type = {"Content-Type": "application/merge-patch+json"}
    served.cluster.admin.patch(path, headers=media_type, json={"status": {"phase": "Succeeded"}}).raise_for_status()
    return str(pod["metadata"]["labels"]["batch.kubernetes.io/job-name"])


def test_other_weights_are_fetched_on_the_node_that_has_the_volume(placed: Served) -> None:
    serving = {**SERVING, "cache": {"mode": "perModel", "storageClass": placed.namespace, "size": "10Gi"}}
    placed.apply("dream", {"parameters": {"model": "hf://somebody/first"}, "serving": serving})
    first = node_of(placed, "dream", "fetcher")
    cordon(placed, first)
    job = fill(placed, "dream")
    second = node_of(placed, "dream")
    assert second != first, "a Job that is over holds nobody"

    cordon(placed, first, shut=False)
    placed.apply("dream", {"parameters": {"model": "hf://somebody/second"}, "serving": serving})
    assert node_of(placed, "dream", "fetcher", but=job) == second
    placed.kubectl("scale", "imagemodel", "dream", "--replicas=3")
    assert {pod["spec"]["nodeName"] for pod in runtimes(placed, "dream", 3)} == {second}


def test_all_models_of_a_claim_for_one_node_share_the_node(placed: Served) -> None:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}
    serving = {**SERVING, "replicas": 2, "cache": {"existingClaim": "weights"}}
    for name in ("before", "after"):
        placed.apply(name, {"parameters": {"model": name}, "serving": serving})
        placed.apply("weights", {**claim, "storageClassName": placed.namespace}, kind="PersistentVolumeClaim")
        runtimes(placed, name, 2)
    assert len({pod["spec"]["nodeName"] for name in ("before", "after") for pod in runtimes(placed, name, 2)}) == 1
    budget = placed.child("PodDisruptionBudget", "after") or {}
    assert budget["spec"]["maxUnavailable"] == "100%", "a drain of that node must come to its end"


def test_a_claim_that_several_nodes_can_mount_holds_nobody(placed: Served) -> None:
    claim = {"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "10Gi"}}}
    spec = {"parameters": {"model": "dream"}, "serving": {**SERVING, "cache": {"existingClaim": "weights"}}}
    placed.apply("weights", {**claim, "storageClassName": "none"}, kind="PersistentVolumeClaim")
    placed.apply("dream", spec)
    pod = placed.wait_for_children("dream")["Deployment"]["spec"]["template"]
    assert "affinity" not in pod["spec"]
    assert (placed.child("PodDisruptionBudget", "dream") or {})["spec"]["maxUnavailable"] == 1
