"""Whose GPU is handed over where the model that waits may not be placed on every node, by a real API server's word."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.control_plane import ControlPlane
from cluster.nodes import TOLERATION, nodes
from cluster.waiting import eventually
from heliograph_api import naming
from heliograph_operator.autoscale.broker import Broker
from heliograph_operator.autoscale.decision import Demand
from heliograph_operator.autoscale.subject import subject_of
from heliograph_operator.diagnosis.scheduling import misses_volume
from heliograph_operator.inventory import Key
from heliograph_operator.kube import connect
from heliograph_operator.metrics import Metrics
from heliograph_operator.settings import OperatorSettings, Profile
from scaling.installed import Installed, acting_as, horizontal_pod_autoscaler, image_model

CHART = Path(__file__).resolve().parents[2] / "charts" / "heliograph"
GPU = "nvidia.com/gpu"
PROFILE = Profile(gpu_resource=GPU)
IDLE_SECONDS = {"far": 900.0, "near": 100.0, "waiter": 0.0}
"""By this alone, `far` would give way."""
WEIGHTS = [{"name": "models", "persistentVolumeClaim": {"claimName": "weights"}}]


@dataclass
class Stage:
    """Two nodes with a GPU each, which the idle models `far` and `near` have, and `waiter`, which has requests."""

    installed: Installed

    def node(self, name: str) -> str:
        return f"{name}-{self.installed.namespace}"

    def add(self, name: str, *, node: str | None = None, **spec: Any) -> None:
        """Make a pod of a model."""
        labels = {naming.MANAGED_BY_LABEL: naming.MANAGED_BY, naming.MODEL_LABEL: naming.child_name(name)}
        container = {"name": "runtime", "image": "none", "resources": {"limits": {GPU: "1"}}}
        place = {"nodeName": self.node(node)} if node else {}
        pod = {"containers": [container], "tolerations": [TOLERATION], **place, **spec}
        metadata = {"name": f"{name}-pod{'-placed' if node else ''}", "labels": labels}
        self.installed.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod})

    def end(self, pod: str, *, seconds: int) -> None:
        """Tell a pod to end within so many seconds; it keeps its node for longer, since no kubelet runs there."""
        path = f"/api/v1/namespaces/{self.installed.namespace}/pods/{pod}"
        self.installed.cluster.admin.delete(path, params={"gracePeriodSeconds": seconds}).raise_for_status()

    def add_model(self, name: str, reason: str) -> None:
        """Make an ImageModel with one replica."""
        scaling = {"min": 0, "idleSeconds": 3600}
        self.installed.apply(image_model(name, replicas=1, scaling=scaling, cuda=True))
        condition = {
            "type": "Ready",
            "status": str(reason == "Ready"),
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "reason": reason,
            "message": "It says so.",
        }
        path = f"/apis/{naming.API_VERSION}/namespaces/{self.installed.namespace}/{naming.PLURAL}/{name}/status"
        self.installed.cluster.admin.patch(
            path,
            headers={"Content-Type": "application/merge-patch+json"},
            json={"status": {"observedGeneration": 1, "replicas": 1, "conditions": [condition]}},
        ).raise_for_status()

    def asleep(self, *, namespaces: Sequence[str], later: timedelta = timedelta()) -> list[str]:
        """Have the broker look after a time, and return the models that it put to rest; it serves `namespaces`."""

        async def look() -> None:
            settings = OperatorSettings(namespaces=namespaces, gpu_profile=PROFILE)
            async with AsyncExitStack() as stack:
                with acting_as(self.installed.kubeconfig("operator")):
                    kube = await stack.enter_async_context(connect(request_timeout=30.0, metrics=Metrics()))
                subjects = {
                    Key(self.installed.namespace, name): subject_of(self.installed.get(name)) for name in IDLE_SECONDS
                }
                known = {key: subject for key, subject in subjects.items() if subject}
                demands = {
                    key: Demand(load=int(not idle), idle_seconds=idle, recent_load=0, is_complete=True)
                    for key, idle in zip(known, IDLE_SECONDS.values(), strict=True)
                }
                clock = partial(_now, later)
                await Broker(kube=kube, settings=settings, metrics=Metrics(), clock=clock).look(known, demands)
            await asyncio.sleep(0.2)

        asyncio.run(asyncio.wait_for(look(), 60))
        return [name for name in IDLE_SECONDS if not self.installed.replicas(name)]


def _now(later: timedelta) -> datetime:
    return datetime.now(UTC) + later


def local_volume(name: str, *, node: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a PersistentVolume that one node reaches, and the claim `weights`, which has it."""
    modes, capacity = ["ReadWriteOnce"], {"storage": "1Gi"}
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    volume = {
        "accessModes": modes,
        "capacity": capacity,
        "local": {"path": "/weights"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}},
        "storageClassName": "",
    }
    claim = {"accessModes": modes, "resources": {"requests": capacity}, "storageClassName": "", "volumeName": name}
    return (
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": volume},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "weights"}, "spec": claim},
    )


@pytest.fixture
def stage(imagemodels: ControlPlane, namespace: str, helm: Callable[..., str], tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(Installed(imagemodels, namespace, tmp_path, helm))
    with nodes(imagemodels.admin, {stage.node(name): {GPU: "1"} for name in ("far", "near")}):
        for name in ("far", "near"):
            stage.add_model(name, "Ready")
            stage.add(name, node=name)
        stage.add_model("waiter", "NoGpuFree")
        yield stage


@pytest.fixture
def clusterwide(stage: Stage, helm: Callable[..., str]) -> Iterator[Stage]:
    """The stage where the operator has the chart's rights for the whole cluster."""
    namespace, admin = stage.installed.namespace, stage.installed.cluster.admin
    rendered = helm("template", "heliograph", CHART, "--namespace", namespace, "--set", "clusterWide=true")
    objects = [item for item in yaml.safe_load_all(rendered) if item]
    (role,) = (it for it in objects if it["kind"] == "ClusterRole" and it["metadata"]["name"] == "heliograph-operator")
    name = role["metadata"]["name"] = f"operator-{namespace}"
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "heliograph-operator", "namespace": namespace}],
    }
    stage.installed.apply(role, binding)
    yield stage
    for plural in ("clusterroles", "clusterrolebindings"):
        admin.delete(f"/apis/rbac.authorization.k8s.io/v1/{plural}/{name}").raise_for_status()


def test_the_one_that_has_been_idle_for_longest_gives_way_where_nothing_is_in_the_way(clusterwide: Stage) -> None:
    clusterwide.add("waiter")
    assert clusterwide.asleep(namespaces=()) == ["far"]


def test_a_model_of_a_node_that_the_volume_does_not_reach_stays_awake(clusterwide: Stage) -> None:
    namespace = clusterwide.installed.namespace
    clusterwide.installed.apply(*local_volume(namespace, node=clusterwide.node("near")))
    clusterwide.add("waiter", volumes=WEIGHTS)
    assert clusterwide.asleep(namespaces=()) == ["near"]
    clusterwide.installed.cluster.admin.delete(f"/api/v1/persistentvolumes/{namespace}").raise_for_status()


@pytest.mark.parametrize(
    ("constraint", "victims"),
    [
        pytest.param(lambda near: {"nodeSelector": {"pool": near}}, ["near"], id="another label"),
        pytest.param(lambda _: {"tolerations": []}, [], id="a taint"),
    ],
)
def test_a_model_of_a_node_that_is_closed_stays_awake(
    clusterwide: Stage, constraint: Callable[[str], dict[str, Any]], victims: list[str]
) -> None:
    clusterwide.add("waiter", **constraint(clusterwide.node("near")))
    assert clusterwide.asleep(namespaces=()) == victims


def test_a_model_that_a_horizontal_pod_autoscaler_scales_stays_awake(stage: Stage) -> None:
    stage.installed.apply(horizontal_pod_autoscaler("far"))
    stage.add("waiter")
    assert stage.asleep(namespaces=(stage.installed.namespace,)) == ["near"]


def test_a_claim_in_use_on_one_node_tells_without_a_look_at_nodes(stage: Stage) -> None:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": ""}
    stage.installed.apply(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "weights"}, "spec": claim}
    )
    volumes = [{"name": "models", "persistentVolumeClaim": {"claimName": "weights"}}]
    stage.add("neighbour", node="near", volumes=volumes)
    stage.add("waiter", volumes=volumes)
    assert stage.asleep(namespaces=(stage.installed.namespace,)) == ["near"]


def test_nobody_gives_way_where_the_volume_was_made_for_a_node_without_gpus(stage: Stage) -> None:
    namespace, admin = stage.installed.namespace, stage.installed.cluster.admin
    store = stage.node("store")
    volume, claim = local_volume(namespace, node=store)
    claim["metadata"]["annotations"] = {"volume.kubernetes.io/selected-node": store}
    with nodes(admin, {store: {}}):
        stage.installed.apply(volume, claim)
        admin.delete(f"/api/v1/namespaces/{namespace}/pods/near-pod-placed", params={"gracePeriodSeconds": 0})
        stage.add("waiter", volumes=WEIGHTS)
        path = f"/api/v1/namespaces/{namespace}/pods/waiter-pod"
        eventually(lambda: misses_volume(admin.get(path).raise_for_status().json()), what="word of the scheduler's")
        assert stage.asleep(namespaces=(namespace,)) == []
    admin.delete(f"/api/v1/persistentvolumes/{namespace}").raise_for_status()


def test_nobody_gives_way_to_a_model_whose_claim_is_gone_or_that_has_a_node(stage: Stage) -> None:
    volumes = [{"name": "models", "persistentVolumeClaim": {"claimName": "gone"}}]
    assert stage.asleep(namespaces=(stage.installed.namespace,)) == []
    stage.add("waiter", volumes=volumes)
    assert stage.asleep(namespaces=(stage.installed.namespace,)) == []


def test_nobody_gives_way_to_a_model_whose_own_old_replica_is_about_to_leave_its_gpu(stage: Stage) -> None:
    stage.add("waiter", node="near")
    stage.add("waiter")
    stage.end("waiter-pod-placed", seconds=300)
    assert stage.asleep(namespaces=(stage.installed.namespace,)) == []


def test_an_old_replica_that_does_not_end_is_not_waited_for_longer(stage: Stage) -> None:
    stage.add("waiter", node="near")
    stage.add("waiter")
    stage.end("waiter-pod-placed", seconds=300)
    later = timedelta(minutes=1)
    assert stage.asleep(namespaces=(stage.installed.namespace,), later=later) == ["far"]
