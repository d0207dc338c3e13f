"""Two GPUs and six models: an idle one gives way to one that has requests, and not before it was of some use."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster.control_plane import ControlPlane
from cluster.nodes import TOLERATION, nodes
from gateway.answers import PICTURE, entry, images
from gateway.peers import Peer
from operator_rig import RunningOperator, running_operator
from scaling.installed import LOAD_SERVICE, GatewayProcess, Installed, image_model
from scaling.kubelet import Kubelet, kubelet

GPUS = 2
MODELS = [f"model-{letter}" for letter in "abcdef"]
RESIDENCE = 3.0
PROFILE = {"gpuResource": "nvidia.com/gpu", "tolerations": [TOLERATION]}


@dataclass
class Shared:
    """Models that share the GPUs."""

    installed: Installed
    gateway: GatewayProcess
    operator: RunningOperator
    kubelet: Kubelet

    def apply(self, name: str, **spec: Any) -> None:
        scaling = {"min": 0, "max": 1, "idleSeconds": 3600}
        self.installed.apply(image_model(name, scaling=scaling, cuda=True, **spec))

    def ask(self, model: str, *, seconds: float = 120.0) -> int:
        """Return the status of the answer to a request for a model, which has so many seconds."""
        url = f"{self.gateway.url}/v1/images/generations"
        return httpx.post(
            url, json={"model": model, "prompt": "a circle"}, timeout=seconds, trust_env=False
        ).status_code

    def handovers(self) -> float:
        return self.operator.metric("heliograph_operator_handovers_total")


@pytest.fixture
def shared(imagemodels: ControlPlane, namespace: str, helm: Callable[..., str], tmp_path: Path) -> Iterator[Shared]:
    installed = Installed(imagemodels, namespace, tmp_path, helm)
    options = (
        *("--namespaces", namespace, "--gateway-service", f"{namespace}/{LOAD_SERVICE}", "--autoscale-seconds", "0.2"),
        *("--gpu-profile", json.dumps(PROFILE), "--handover-residence-seconds", str(RESIDENCE)),
        *("--runtime-resources", json.dumps({"requests": {"cpu": "1"}})),
    )
    with (
        # Names of their own: nobody takes the pods of a test from its nodes when it is over.
        nodes(imagemodels.admin, {f"gpu-{number}-{namespace}": {"nvidia.com/gpu": "1"} for number in range(GPUS)}),
        Peer(images(entry(PICTURE)), host="") as peer,
        kubelet(installed, peer.endpoint.port) as played,
        running_operator(tmp_path, installed.kubeconfig("operator"), *options) as operator,
        installed.gateway() as gateway,
    ):
        operator.wait_until_ready()
        yield Shared(installed, gateway, operator, played)


def test_requests_to_all_in_turn_are_all_served(shared: Shared) -> None:
    for name in MODELS:
        shared.apply(name)

    answers = [shared.ask(name) for _ in range(2) for name in MODELS]

    assert set(answers) == {200}
    assert max(shared.kubelet.crowds.values()) == 1, "never two pods on one GPU"
    stays = shared.kubelet.stays.values()
    # Each request but the first two finds the GPUs taken; the one that was asked for longest ago gave way.
    assert len(stays) == len(answers)
    assert shared.handovers() == len(answers) - GPUS
    # A second is what times in a status are rounded to.
    assert all(stay.ended - stay.ready > RESIDENCE - 1 for stay in stays if stay.ended)


def test_models_that_are_all_wanted_at_once_take_turns(shared: Shared) -> None:
    for name in MODELS:
        shared.apply(name)

    with ThreadPoolExecutor(len(MODELS)) as pool:
        answers = list(pool.map(shared.ask, MODELS * 2))

    assert set(answers) == {200}
    assert max(shared.kubelet.crowds.values()) == 1
    stays = list(shared.kubelet.stays.values())
    assert all(stay.ended - stay.ready > RESIDENCE - 1 for stay in stays if stay.ended)
    assert len(stays) <= 2 * len(MODELS), "no more swaps than requests"


def test_neither_a_pinned_model_nor_one_of_higher_rank_gives_way(shared: Shared) -> None:
    shared.apply("pinned", pinned=True)
    assert shared.ask("pinned") == 200
    for name in ("model-a", "model-b"):
        shared.apply(name)
        assert shared.ask(name) == 200
    shared.apply("important", serving={"replicas": 0, "priority": 10, "scaling": {"min": 0, "idleSeconds": 3600}})
    assert shared.ask("important") == 200

    with pytest.raises(httpx.ReadTimeout):
        shared.ask("model-a", seconds=3 * RESIDENCE)

    assert shared.handovers() == 2
    ended = [stay.model.rpartition("-")[0] for stay in shared.kubelet.stays.values() if stay.ended]
    assert ended == ["model-a", "model-b"]
