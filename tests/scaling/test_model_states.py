"""The states that a gateway tells of models, as the operator and a real API server make them."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster.addresses import routable_address
from cluster.control_plane import ControlPlane
from cluster.waiting import eventually
from gateway.peers import Peer, answer
from heliograph_api import naming
from operator_rig import RunningOperator, Served, make_namespace, running_operator
from scaling.installed import GatewayProcess, Installed

ABLE = {
    "revision": "1", "engine": "diffusers", "family": "Flux", "operations": ["generate"],
    "parameters": {"steps": {"default": 4}}, "max_images": 1, "max_pixels": 65536, "max_references": 0,
    "control": False, "previews": False, "loras": [], "video": None,
}  # fmt: skip
WEIGHTS: dict[str, Any] = {"parameters": {"model": "m.safetensors"}}
CLAIM = {"existingClaim": "weights"}


class Scene:
    """A namespace with an operator and a gateway, and no node: whatever is to run waits for one."""

    def __init__(
        self, served: Served, installed: Installed, operator: RunningOperator, gateway: GatewayProcess
    ) -> None:
        self.served = served
        self.operator = operator
        self.client = httpx.Client(base_url=gateway.url, timeout=60, trust_env=False)
        self._installed = installed

    def told(self, name: str) -> dict[str, Any]:
        answered = self.client.get(f"/v1/models/{name}")
        found: dict[str, Any] = answered.json().get("heliograph", {"state": None})
        return found

    def wait_for(self, name: str, state: str) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            told = self.told(name)
            return told if told["state"] == state and (told["reason"] or state == "ready") else None

        return eventually(found, what=f"state {state} of {name}", timeout=60)

    def set_replica(self, name: str, port: int) -> None:
        """Say that a replica of a model is ready, as the EndpointSlice controller does."""
        labels = {naming.SERVICE_NAME_LABEL: naming.child_name(name), naming.MANAGED_BY_LABEL: naming.MANAGED_BY}
        self._installed.apply({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{name}-replica", "labels": labels,
            },
            "addressType": "IPv4",
            "ports": [{"name": naming.RUNTIME_PORT_NAME, "port": port}],
            "endpoints": [{"addresses": [routable_address()], "conditions": {"ready": True}}],
        })  # fmt: skip


@pytest.fixture
def scene(imagemodels: ControlPlane, helm: Callable[..., str], tmp_path: Path) -> Iterator[Scene]:
    served = make_namespace(imagemodels)
    installed = Installed(imagemodels, served.namespace, tmp_path, helm)
    with ExitStack() as stack:
        operator = stack.enter_context(running_operator(tmp_path, served.kubeconfig, "--namespaces", served.namespace))
        gateway = stack.enter_context(installed.gateway())
        operator.wait_until_ready()
        scene = Scene(served, installed, operator, gateway)
        with scene.client:
            yield scene


def test_a_model_is_cold_then_loading_then_ready_and_stays_known_as_it_sleeps(scene: Scene) -> None:
    serving = {"replicas": 0, "scaling": {"min": 0, "idleSeconds": 3600}, "cache": CLAIM}
    scene.served.apply("dream", {**WEIGHTS, "serving": serving})
    cold = scene.wait_for("dream", "cold")
    assert (cold["reason"], cold["replicas"], cold["capabilities"]) == ("ScaledToZero", 0, None)
    assert "the next request starts one" in cold["message"]

    started = scene.client.post("/v1/models/dream/load")
    assert (started.status_code, started.json()["id"]) == (202, "dream")
    loading = scene.wait_for("dream", "loading")
    model = scene.served.get("ImageModel", "dream")
    assert model is not None
    assert (model["spec"]["serving"]["replicas"], loading["replicas"]) == (1, 1), "it was written by /scale"

    with Peer(answer(200, ABLE), host="") as replica:
        scene.set_replica("dream", replica.endpoint.port)
        ready = scene.client.post("/v1/models/dream/load?wait=60")
        assert (ready.status_code, ready.json()["heliograph"]["state"]) == (200, "ready")
        assert ready.json()["heliograph"]["capabilities"]["family"] == "Flux"
        (listed,) = scene.client.get("/v1/models").json()["data"]
        assert (listed["id"], listed["heliograph"]["ready_replicas"]) == ("dream", 1)

    scene.served.kubectl("delete", "endpointslice", "dream-replica")
    scene.served.kubectl("scale", "imagemodel/dream", "--replicas=0")
    asleep = scene.wait_for("dream", "cold")
    assert asleep["capabilities"]["family"] == "Flux"


def test_a_model_that_cannot_run_says_why_and_recovers(scene: Scene) -> None:
    spec = {**WEIGHTS, "serving": {"cache": CLAIM, "profile": "huge"}}
    scene.served.apply("broken", spec)
    failed = scene.wait_for("broken", "failed")
    assert failed["reason"] == "InvalidSpec"
    model = scene.served.conditions("broken")["Ready"]
    assert failed["message"] == model["message"]

    scene.served.apply("broken", {**WEIGHTS, "serving": {"cache": CLAIM, "replicas": 0}})
    assert scene.wait_for("broken", "cold")["reason"] == "ScaledToZero"
    refused = scene.client.post("/v1/models/broken/load")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "model_not_scaled")


def test_weights_on_their_way_have_a_progress(scene: Scene) -> None:
    scene.served.apply("dream", {"parameters": {"model": "https://example.org/dream.safetensors"}})
    assert scene.wait_for("dream", "loading")["progress"] is None

    # It would take away what no fetcher told it; and without a node, the fetcher's pod waits for one sooner or later.
    scene.operator.process.stop()
    ready = {"type": "Ready", "status": "False", "reason": "Fetching", "message": "The weights are fetched."}
    condition = {**ready, "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}
    status = json.dumps({"status": {"weights": {"percent": 43}, "conditions": [condition]}})
    scene.served.kubectl("patch", "imagemodel", "dream", "--subresource=status", "--type=merge", "-p", status)
    eventually(lambda: scene.told("dream")["progress"] == 0.43, what="the progress that the status tells")
    assert scene.told("dream")["reason"] == "Fetching"
