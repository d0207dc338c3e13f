"""A kubelet's part for pods that the scheduler has placed: they get ready at once, answer by a peer, and end when told.

Every pod is backed by the same peer; what is looked at here is where pods are, and for how long.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

from cluster.addresses import routable_address
from heliograph_api import naming
from scaling.installed import Installed

_MERGE = {"Content-Type": "application/merge-patch+json"}
_SLICES = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"


@dataclass
class Stay:
    """The time that a pod had a GPU: model, node, and seconds on a monotonic clock."""

    model: str
    node: str
    ready: float
    ended: float | None = None


@dataclass
class Kubelet:
    """What the kubelets of all nodes did.

    Attributes:
        stays: Each pod's time on its node, by uid.
        crowds: The most pods that were seen on each node at once.
    """

    installed: Installed
    port: int
    stays: dict[str, Stay] = field(default_factory=dict)
    crowds: Counter[str] = field(default_factory=Counter)

    def look(self) -> None:
        """Do once what there is to be done."""
        admin, path = self.installed.cluster.admin, f"/api/v1/namespaces/{self.installed.namespace}/pods"
        pods = [pod for pod in admin.get(path).raise_for_status().json()["items"] if pod["spec"].get("nodeName")]
        for node, count in Counter(pod["spec"]["nodeName"] for pod in pods).items():
            self.crowds[node] = max(self.crowds[node], count)
        for pod in pods:
            if pod["metadata"].get("deletionTimestamp"):
                self._end(f"{path}/{pod['metadata']['name']}", pod)
            elif pod["metadata"]["uid"] not in self.stays:
                self._start(f"{path}/{pod['metadata']['name']}", pod)

    def _start(self, path: str, pod: dict[str, Any]) -> None:
        conditions = [{"type": kind, "status": "True"} for kind in ("PodScheduled", "ContainersReady", "Ready")]
        status = {"status": {"phase": "Running", "conditions": conditions}}
        self.installed.cluster.admin.patch(f"{path}/status", headers=_MERGE, content=json.dumps(status))
        model = pod["metadata"]["labels"][naming.MODEL_LABEL]
        labels = {naming.SERVICE_NAME_LABEL: model, naming.MANAGED_BY_LABEL: naming.MANAGED_BY}
        self.stays[pod["metadata"]["uid"]] = Stay(model, pod["spec"]["nodeName"], time.monotonic())
        self.installed.apply(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": pod["metadata"]["name"], "labels": labels},
                "addressType": "IPv4",
                "ports": [{"name": naming.RUNTIME_PORT_NAME, "port": self.port}],
                "endpoints": [{"addresses": [routable_address()], "conditions": {"ready": True}}],
            }
        )

    def _end(self, path: str, pod: dict[str, Any]) -> None:
        if stay := self.stays.get(pod["metadata"]["uid"]):
            stay.ended = stay.ended or time.monotonic()
        slices = _SLICES.format(self.installed.namespace)
        self.installed.cluster.admin.delete(f"{slices}/{pod['metadata']['name']}")
        self.installed.cluster.admin.delete(path, params={"gracePeriodSeconds": 0})


@contextmanager
def kubelet(installed: Installed, port: int) -> Iterator[Kubelet]:
    """Play the kubelets inside the block; `port` is where every pod answers."""
    player, stop = Kubelet(installed, port), Event()

    def play() -> None:
        while not stop.wait(0.1):
            player.look()

    thread = Thread(target=play, daemon=True)
    thread.start()
    try:
        yield player
    finally:
        stop.set()
        thread.join()
