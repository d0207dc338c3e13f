"""Nodes without machines: the scheduler places pods on them, and nothing runs there.

Each bears a taint, so that pods of other tests stay where they are: without a node.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any

import httpx

from cluster.waiting import eventually

TAINT = "heliograph.test/node"
TOLERATION = {"key": TAINT, "operator": "Exists"}
"""What a pod bears that may be placed here."""
_HEARTBEAT_SECONDS = 5.0
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_NODES = "/api/v1/nodes"


def bind(admin: httpx.Client, pod: Mapping[str, Any], *, node: str) -> str:
    """Place a pod on a node in the scheduler's stead, and return the pod's path in the API.

    Args:
        admin: Client that may do everything.
        pod: The pod.
        node: Name of the node.
    """
    name = pod["metadata"]["name"]
    path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{name}"
    target = {"apiVersion": "v1", "kind": "Node", "name": node}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
    admin.post(f"{path}/binding", json=binding).raise_for_status()
    return path


@contextmanager
def nodes(admin: httpx.Client, capacities: Mapping[str, Mapping[str, str]]) -> Iterator[None]:
    """Have nodes that are ready, for as long as the block runs.

    Args:
        admin: Client that may do everything.
        capacities: Each node's resources, such as `{"nvidia.com/gpu": "1"}`, beside much CPU and memory, by its name,
            which is its label `pool` too.
    """
    stop = Event()
    heartbeat = Thread(target=_beat, args=(admin, tuple(capacities), stop), daemon=True)
    for name, capacity in capacities.items():
        _add(admin, name, capacity)
    heartbeat.start()
    try:
        eventually(lambda: all(_is_untainted(admin, name) for name in capacities), what="ready nodes")
        yield
    finally:
        stop.set()
        heartbeat.join()
        for name in capacities:
            admin.delete(f"{_NODES}/{name}").raise_for_status()
            admin.delete(f"{_LEASES}/{name}").raise_for_status()


def _add(admin: httpx.Client, name: str, capacity: Mapping[str, str]) -> None:
    labels = {"pool": name, "kubernetes.io/hostname": name}
    spec = {"taints": [{"key": TAINT, "value": "here", "effect": "NoSchedule"}]}
    metadata = {"name": name, "labels": labels}
    admin.post(_NODES, json={"metadata": metadata, "spec": spec}).raise_for_status()
    admin.post(_LEASES, json={"metadata": {"name": name}, "spec": _lease(name)}).raise_for_status()
    resources = {"cpu": "64", "memory": "256Gi", "pods": "500", **capacity}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": now, "lastTransitionTime": now}
    status = {"capacity": resources, "allocatable": resources, "conditions": [ready]}
    _patch(admin, f"{_NODES}/{name}/status", {"status": status})


def _beat(admin: httpx.Client, names: tuple[str, ...], stop: Event) -> None:
    # A node that is silent for 40 s counts as lost.
    while not stop.wait(_HEARTBEAT_SECONDS):
        for name in names:
            _patch(admin, f"{_LEASES}/{name}", {"spec": _lease(name)})


def _lease(name: str) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now}


def _is_untainted(admin: httpx.Client, name: str) -> bool:
    taints = admin.get(f"{_NODES}/{name}").raise_for_status().json()["spec"].get("taints", ())
    return {taint["key"] for taint in taints} == {TAINT}


def _patch(admin: httpx.Client, path: str, body: dict[str, Any]) -> None:
    media_type = {"Content-Type": "application/merge-patch+json"}
    admin.patch(path, headers=media_type, json=body).raise_for_status()
