"""The gateway as a process, on a real API server."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from cluster.addresses import free_port, routable_address
from cluster.control_plane import ControlPlane
from cluster.leash import Leash
from cluster.waiting import eventually, is_answered
from gateway.informing import apply_crd
from gateway.peers import Peer, answer
from heliograph_api.naming import child_name

IMAGES = {"created": 1, "data": [{"b64_json": "AAAA"}], "output_format": "png"}
PROGRAM = """
import sys
from heliograph_gateway.main import run
from heliograph_gateway.settings import GatewaySettings
sys.exit(run(GatewaySettings()))
"""
COMMAND = [sys.executable, "-c", PROGRAM]


class Cluster:
    """What a user does in a namespace."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self.control_plane = control_plane
        self.namespace = namespace

    def apply(self, *objects: dict[str, Any]) -> None:
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.control_plane.kubectl("apply", "--namespace", self.namespace, "--filename", "-", input=json.dumps(items))

    def delete(self, *names: str) -> None:
        self.control_plane.kubectl("delete", "--namespace", self.namespace, "--wait=false", *names)


class Process:
    """A gateway that runs."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.load_url = f"http://127.0.0.1:{free_port()}/load"
        environment = {
            "HELIOGRAPH_GATEWAY_PORT": self.url.rpartition(":")[2],
            "HELIOGRAPH_GATEWAY_LOAD_PORT": self.load_url.removesuffix("/load").rpartition(":")[2],
            "HELIOGRAPH_GATEWAY_NAMESPACES": cluster.namespace,
            "HELIOGRAPH_GATEWAY_HOLD_SECONDS": "0.2",
            "KUBECONFIG": str(cluster.control_plane.kubeconfig()),
        }
        self.leash = Leash(COMMAND, log=folder / "gateway.log", env=os.environ | environment)
        self.openai = openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)

    def is_ready(self) -> bool:
        return is_answered(f"{self.url}/readyz")

    def load(self) -> dict[str, Any]:
        """Return what it tells of the models' load."""
        models: dict[str, Any] = httpx.get(self.load_url, trust_env=False).raise_for_status().json()["models"]
        return models

    def models(self) -> list[str]:
        return [model.id for model in self.openai.models.list()]

    def draws(self, model: str) -> bool:
        try:
            return self.openai.images.generate(model=model, prompt="a circle").created == 1
        except openai.APIStatusError as error:
            if error.code not in {"model_not_found", "model_not_ready"}:
                raise
            return False


@pytest.fixture
def kube(cluster: ControlPlane, namespace: str) -> Cluster:
    apply_crd(cluster)
    return Cluster(cluster, namespace)


@pytest.fixture
def process(kube: Cluster, tmp_path: Path) -> Iterator[Process]:
    running = Process(kube, tmp_path)
    with running.leash as leash, running.openai:
        leash.wait_until(running.is_ready)
        yield running


def image_model(name: str, /, **spec: Any) -> dict[str, Any]:
    if "alias" not in spec:
        spec.setdefault("parameters", {"model": "weights"})
    return {
        "apiVersion": "heliograph.dev/v1alpha1",
        "kind": "ImageModel",
        "metadata": {"name": name},
        "spec": spec,
    }


def endpoint_slice(model: str, peer: Peer, *, name: str = "one", **conditions: bool) -> dict[str, Any]:
    service = child_name(model)
    labels = {"kubernetes.io/service-name": service, "app.kubernetes.io/managed-by": "heliograph"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service}-{name}", "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": peer.endpoint.port}],
        "endpoints": [{"addresses": [routable_address()], "conditions": conditions}],
    }


def test_changes_in_the_cluster_are_followed(kube: Cluster, process: Process) -> None:
    assert process.models() == []
    with Peer(answer(200, IMAGES), host="") as one, Peer(answer(200, IMAGES), host="") as two:
        kube.apply(image_model("sdxl", name="acme/sdxl"), image_model("gpt-image-1", alias="acme/sdxl"))
        eventually(lambda: process.models() == ["acme/sdxl", "gpt-image-1"], what="both models")
        assert not process.draws("acme/sdxl")
        kube.apply(endpoint_slice("sdxl", one))
        eventually(lambda: process.draws("gpt-image-1"), what="first picture")
        kube.apply(endpoint_slice("sdxl", two, name="two"))
        eventually(lambda: process.draws("sdxl") and two.requests, what="picture by the second replica")
        kube.apply(endpoint_slice("sdxl", one, ready=False))

        def one_is_passed_over() -> bool:
            before = len(one.requests)
            return process.draws("sdxl") and process.draws("sdxl") and len(one.requests) == before

        eventually(one_is_passed_over, what="end of requests to the replica that is not ready")
        kube.delete(f"endpointslice/{child_name('sdxl')}-two")
        eventually(lambda: not process.draws("acme/sdxl"), what="end of all replicas")
        kube.delete("imagemodel/sdxl")
        eventually(lambda: process.models() == [], what="end of the model and its alias", timeout=2)
        with pytest.raises(openai.NotFoundError, match="Available models: none"):
            process.openai.images.generate(model="acme/sdxl", prompt="a circle")


def test_the_api_server_may_go_away(binaries: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ControlPlane(folder=tmp_path, binaries=binaries) as control_plane:
        apply_crd(control_plane)
        kube = Cluster(control_plane, "default")
        process = Process(kube, tmp_path)
        with process.leash as leash, process.openai, Peer(answer(200, IMAGES), host="") as peer:
            leash.wait_until(process.is_ready)
            kube.apply(image_model("tiny"), endpoint_slice("tiny", peer))
            eventually(lambda: process.draws("tiny"), what="first picture")
            server = control_plane.processes["kube-apiserver"]
            server.send_signal(signal.SIGKILL)
            server.wait()
            for _ in range(5):
                assert process.draws("tiny")
                assert process.is_ready()
            environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
            with Leash(server.command, log=server.log, env=environment, grace=0) as restarted:
                restarted.wait_until(lambda: _is_ready(control_plane))
                assert process.draws("tiny")
                kube.delete("imagemodel/tiny")
                eventually(lambda: process.models() == [], what="end of the model", timeout=2)


def test_clients_cannot_read_the_load(process: Process) -> None:
    assert process.load() == {}
    assert httpx.get(f"{process.url}/load", trust_env=False).status_code == 404


def test_sigterm_lets_requests_finish(kube: Cluster, process: Process) -> None:
    go = threading.Event()

    def work(connection: Any) -> None:
        assert go.wait(30)
        answer(200, IMAGES)(connection)

    with Peer(work, host="") as peer, ThreadPoolExecutor(1) as pool:
        kube.apply(image_model("tiny"), endpoint_slice("tiny", peer))
        picture = pool.submit(lambda: eventually(lambda: process.draws("tiny"), what="picture"))
        eventually(lambda: peer.requests, what="request at work")
        for _ in range(2):
            process.leash.send_signal(signal.SIGTERM)
            eventually(lambda: not process.is_ready(), what="end of readiness")
        assert process.leash.poll() is None
        # Else the autoscaler would take it for a gateway without requests, and the replica away.
        assert process.load()[f"{kube.namespace}/tiny"]["outstanding"] == 1
        go.set()
        assert picture.result() is True
    assert process.leash.wait() == 0
    assert "Traceback" not in process.leash.tail()


def test_without_a_cluster_it_says_what_to_do(tmp_path: Path) -> None:
    environment = os.environ | {"KUBECONFIG": str(tmp_path / "missing")}
    result = subprocess.run(COMMAND, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert result.returncode == 1
    problem = f"there is no kubeconfig at {tmp_path / 'missing'}; set KUBECONFIG, or run inside a cluster"
    assert result.stderr == f"heliograph gateway: {problem}\n"


def _is_ready(control_plane: ControlPlane) -> bool:
    try:
        return control_plane.admin.get("/readyz").is_success
    except httpx.TransportError:
        return False
