"""The operator's process scales: from a held request to a Deployment with a pod, and back to none."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster.addresses import routable_address
from cluster.control_plane import ControlPlane
from cluster.waiting import eventually
from gateway.answers import PICTURE, entry, images
from gateway.peers import Peer
from heliograph_api import naming
from operator_rig import running_operator
from scaling.installed import LOAD_SERVICE, Installed, horizontal_pod_autoscaler, image_model

IDLE = {"min": 0, "idleSeconds": 1}


@pytest.fixture
def installed(imagemodels: ControlPlane, namespace: str, helm: Callable[..., str], tmp_path: Path) -> Installed:
    return Installed(imagemodels, namespace, tmp_path, helm)


@pytest.fixture
def operated(installed: Installed, tmp_path: Path) -> Iterator[Installed]:
    """A namespace whose operator scales."""
    options = ("--namespaces", installed.namespace, "--gateway-service", f"{installed.namespace}/{LOAD_SERVICE}")
    with running_operator(
        tmp_path, installed.kubeconfig("operator"), *options, "--autoscale-seconds", "0.2"
    ) as operator:
        operator.wait_until_ready()
        yield installed


def conditions(installed: Installed, name: str) -> dict[str, dict[str, Any]]:
    status = installed.get(name).get("status") or {}
    return {item["type"]: item for item in status.get("conditions") or ()}


def reason(installed: Installed, name: str, kind: str) -> str:
    return str(conditions(installed, name).get(kind, {}).get("reason", ""))


def play_kubelet(installed: Installed, name: str, peer: Peer) -> None:
    """Wait for the pod of a model and report it as ready, with a peer as what answers in it."""
    labels = f"{naming.MODEL_LABEL}={naming.child_name(name)}"
    path = f"/api/v1/namespaces/{installed.namespace}/pods"

    def pod() -> str | None:
        items = installed.cluster.admin.get(path, params={"labelSelector": labels}).json()["items"]
        return next((item["metadata"]["name"] for item in items), None)

    found = eventually(pod, what="pod")
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    installed.cluster.admin.patch(
        f"{path}/{found}/status",
        headers={"Content-Type": "application/merge-patch+json"},
        content=json.dumps({"status": status}),
    ).raise_for_status()
    service = naming.child_name(name)
    shown = {naming.SERVICE_NAME_LABEL: service, naming.MANAGED_BY_LABEL: naming.MANAGED_BY}
    installed.apply(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"{service}-played", "labels": shown},
            "addressType": "IPv4",
            "ports": [{"name": naming.RUNTIME_PORT_NAME, "port": peer.endpoint.port}],
            "endpoints": [{"addresses": [routable_address()], "conditions": {"ready": True}}],
        }
    )


def test_a_request_starts_a_pod_and_idleness_ends_it(operated: Installed) -> None:
    operated.apply(image_model("tiny", scaling=IDLE))
    with operated.gateway() as gateway, Peer(images(entry(PICTURE)), host="") as peer, ThreadPoolExecutor(1) as pool:
        eventually(lambda: reason(operated, "tiny", "Ready") == "ScaledToZero", what="sleep")
        assert "the next request starts one" in conditions(operated, "tiny")["Ready"]["message"]
        url = f"{gateway.url}/v1/images/generations"
        asked = pool.submit(httpx.post, url, json={"model": "tiny", "prompt": "a circle"}, timeout=60, trust_env=False)
        play_kubelet(operated, "tiny", peer)
        assert asked.result().status_code == 200
        eventually(lambda: operated.replicas("tiny") == 0, what="sleep")
        eventually(lambda: reason(operated, "tiny", "Ready") == "ScaledToZero", what="status of it")
        (deployment,) = operated.cluster.admin.get(f"/apis/apps/v1/namespaces/{operated.namespace}/deployments").json()[
            "items"
        ]
        assert deployment["spec"]["replicas"] == 0


def test_a_horizontal_pod_autoscaler_beside_it_is_told(operated: Installed) -> None:
    operated.apply(image_model("tiny", scaling=IDLE), horizontal_pod_autoscaler("tiny"))
    eventually(lambda: reason(operated, "tiny", "ScalingConflict") == "TwoAutoscalers", what="ScalingConflict")
    operated.cluster.kubectl("delete", "hpa", "tiny", "--namespace", operated.namespace)
    eventually(lambda: not reason(operated, "tiny", "ScalingConflict"), what="end of ScalingConflict")


def test_a_horizontal_pod_autoscaler_of_the_deployment_is_told(operated: Installed) -> None:
    """Such as one of a ScaledObject that names the Deployment; the operator sets back what it writes."""
    misaimed = horizontal_pod_autoscaler("tiny")
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": naming.child_name("tiny")}
    misaimed["spec"]["scaleTargetRef"] = target
    operated.apply(image_model("tiny", replicas=1))
    eventually(lambda: reason(operated, "tiny", "Accepted"), what="status")
    operated.apply(misaimed)
    eventually(lambda: reason(operated, "tiny", "ScalingConflict") == "WrongScaleTarget", what="ScalingConflict")
    assert "target the ImageModel tiny" in conditions(operated, "tiny")["ScalingConflict"]["message"]
    operated.cluster.kubectl("delete", "hpa", "tiny", "--namespace", operated.namespace)
    eventually(lambda: not reason(operated, "tiny", "ScalingConflict"), what="end of ScalingConflict")
