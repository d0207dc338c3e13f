"""Rollouts that find no room: which are blocked, when nobody misses an old replica, and how they go on."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.control_plane import ControlPlane
from cluster.nodes import TOLERATION, nodes
from cluster.waiting import eventually
from heliograph_api import naming
from heliograph_api.load import GatewayLoad, ModelLoad
from heliograph_operator.diagnosis.trouble import Trouble
from heliograph_operator.observation import Rollout
from heliograph_operator.rollouts import IDLE_SECONDS, is_blocked, is_idle, makes_way
from operator_rig import Served, running_operator
from scaling.installed import LOAD_SERVICE, Installed, image_model

NO_GPU = Trouble("NoGpuFree", "No node takes the pod (Insufficient nvidia.com/gpu): add one.")
PATIENCE = 60.0
SURGE = {"maxSurge": 1, "maxUnavailable": 0}
IN_PLACE = {"maxSurge": 0, "maxUnavailable": 1}


def rollout(*, wanted: int = 1, replicas: int, ready: int, updated: int, is_current: bool = True) -> Rollout:
    return Rollout(wanted, replicas, ready, updated, available=ready, is_current=is_current)


@pytest.mark.parametrize(
    ("state", "found", "blocked"),
    [
        (rollout(replicas=2, ready=1, updated=1), NO_GPU, True),
        (rollout(replicas=1, ready=1, updated=0), Trouble("QuotaExceeded", ""), True),
        (rollout(replicas=2, ready=1, updated=1), Trouble("VolumeInUse", ""), True),
        (rollout(replicas=2, ready=1, updated=1), Trouble("VolumeNotMounted", ""), False),
        (rollout(replicas=2, ready=1, updated=1), None, False),
        (rollout(replicas=2, ready=1, updated=1), Trouble("ImagePullFailed", ""), False),
        (rollout(replicas=2, ready=1, updated=1, is_current=False), NO_GPU, False),
        (rollout(replicas=2, ready=0, updated=1), NO_GPU, False),
        (rollout(wanted=2, replicas=3, ready=1, updated=1), NO_GPU, False),
        (rollout(wanted=2, replicas=2, ready=1, updated=2), NO_GPU, False),
        (None, NO_GPU, False),
    ],
    ids=[
        *("no room", "quota", "volume", "another cause of the same", "nothing wrong", "other trouble", "not seen"),
        *("nothing serves", "one serves of two", "mere growth", "absent"),
    ],
)
def test_a_rollout_is_blocked_where_old_pods_hold_what_new_ones_need(
    state: Rollout | None, found: Trouble | None, blocked: bool
) -> None:
    assert is_blocked(state, found) is blocked


@pytest.mark.parametrize(
    ("state", "found", "makes"),
    [
        (rollout(replicas=2, ready=0, updated=1), NO_GPU, True),
        (rollout(replicas=1, ready=0, updated=0), Trouble("QuotaExceeded", ""), True),
        (rollout(wanted=2, replicas=3, ready=1, updated=1), NO_GPU, True),
        (rollout(replicas=2, ready=0, updated=1, is_current=False), NO_GPU, True),
        (rollout(replicas=2, ready=1, updated=1), NO_GPU, False),
        (rollout(replicas=2, ready=0, updated=1), Trouble("ImagePullFailed", ""), False),
        (rollout(replicas=2, ready=0, updated=1), None, False),
        (rollout(replicas=1, ready=0, updated=1), NO_GPU, False),
        (None, NO_GPU, False),
    ],
    ids=[
        *("no room", "quota", "one of two", "not seen", "the old one serves", "other trouble", "nothing wrong"),
        *("no old one", "absent"),
    ],
)
def test_an_old_pod_makes_way_that_answers_nothing(state: Rollout | None, found: Trouble | None, makes: bool) -> None:
    assert makes_way(state, found) is makes


def load(*, uptime: float = 1000.0, idle: float | None = None) -> GatewayLoad:
    models = {} if idle is None else {"n/m": ModelLoad(outstanding=int(not idle), queued=0, idle_seconds=idle)}
    return GatewayLoad(uptime_seconds=uptime, models=models)


@pytest.mark.parametrize(
    ("gateways", "idle"),
    [
        ([load()], True),
        ([load(idle=IDLE_SECONDS), load(idle=500)], True),
        ([load(idle=500), load(idle=0)], False),
        ([load(idle=IDLE_SECONDS - 1)], False),
        ([load(uptime=1)], False),
        ([load(idle=500), None], False),
        ([None], False),
        ([], False),
    ],
    ids=["never asked", "long ago", "at work", "just now", "new gateway", "silent gateway", "silence", "no gateway"],
)
def test_a_model_is_idle_when_every_gateway_says_so(gateways: list[GatewayLoad | None], idle: bool) -> None:
    assert is_idle("n/m", gateways) is idle


@dataclass(frozen=True)
class Scene:
    """A namespace with a gateway, whose models share a node with one GPU."""

    installed: Installed
    served: Served
    folder: Path
    options: tuple[str, ...]

    @contextmanager
    def operator(self) -> Iterator[None]:
        """Run an operator inside the block."""
        with running_operator(self.folder, self.installed.kubeconfig("operator"), *self.options) as operator:
            operator.wait_until_ready()
            yield

    def place_first(self, model: dict[str, Any]) -> dict[str, Any]:
        """Apply a model, and return its pod once that has the GPU."""
        self.installed.apply(model)
        return self.pod("tiny", lambda found: bool(found["spec"].get("nodeName")), "placed pod")

    def pod(self, name: str, is_meant: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        def find() -> dict[str, Any] | None:
            return next(filter(is_meant, self.served.items("Pod", **naming.selector_labels(name))), None)

        return eventually(find, what=what, timeout=PATIENCE)

    def successor(self, old: dict[str, Any]) -> dict[str, Any]:
        """Wait until an old pod is told to end, end it, and return the pod that has the GPU then."""
        name = old["metadata"]["name"]
        self.pod("tiny", lambda found: is_ending(found) and found["metadata"]["name"] == name, "end of the old pod")
        self.served.kubectl("delete", "pod", name, "--force", "--grace-period=0")
        return self.pod("tiny", lambda found: bool(found["spec"].get("nodeName")), "placed new pod")

    def strategy(self) -> dict[str, Any]:
        found: dict[str, Any] = (self.served.child("Deployment", "tiny") or {})["spec"]["strategy"]["rollingUpdate"]
        return found

    def answer_in(self, found: dict[str, Any]) -> None:
        """Report a pod as ready, as its kubelet does."""
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        self.served.cluster.admin.patch(
            f"/api/v1/namespaces/{self.served.namespace}/pods/{found['metadata']['name']}/status",
            headers={"Content-Type": "application/strategic-merge-patch+json"},
            json={"status": {"phase": "Running", "conditions": [ready]}},
        ).raise_for_status()


def is_ending(found: dict[str, Any]) -> bool:
    return "deletionTimestamp" in found["metadata"]


@pytest.fixture
def one_gpu(imagemodels: ControlPlane, namespace: str, helm: Callable[..., str], tmp_path: Path) -> Iterator[Scene]:
    installed = Installed(imagemodels, namespace, tmp_path, helm)
    node = f"gpu-{namespace}"
    profile = {"gpuResource": "nvidia.com/gpu", "nodeSelector": {"pool": node}, "tolerations": [TOLERATION]}
    options = (
        *("--namespaces", namespace, "--gateway-service", f"{namespace}/{LOAD_SERVICE}"),
        *("--gpu-profile", json.dumps(profile)),
    )
    with nodes(imagemodels.admin, {node: {"nvidia.com/gpu": "1"}}), installed.gateway():
        yield Scene(installed, Served(imagemodels, namespace), tmp_path, options)
        imagemodels.kubectl("delete", "deployments,pods", "--all", "-n", namespace, "--force", "--grace-period=0")


def test_a_blocked_rollout_is_told_and_goes_on_in_place_once_it_may(one_gpu: Scene) -> None:
    installed, served = one_gpu.installed, one_gpu.served
    model = image_model("tiny", replicas=1, cuda=True)
    with one_gpu.operator():
        old = one_gpu.place_first(model)
        one_gpu.answer_in(old)
        served.wait_for_condition("tiny", "Progressing", "Complete")

        model["spec"]["step"] = 9
        installed.apply(model)
        blocked = served.wait_for_condition("tiny", "RolloutBlocked", "NoGpuFree")
        assert (blocked["status"], served.conditions("tiny")["Ready"]["reason"]) == ("True", "Serving")
        assert "set spec.serving.rollout: replace" in blocked["message"]
        name = old["metadata"]["name"]
        new = one_gpu.pod("tiny", lambda found: found["metadata"]["name"] != name, "new pod")
        assert not is_ending(served.get("Pod", name) or {})

        model["spec"]["serving"]["rollout"] = "replace"
        installed.apply(model)
        placed = one_gpu.successor(old)
        assert placed["metadata"]["name"] == new["metadata"]["name"]
        one_gpu.answer_in(placed)
        served.wait_for_condition("tiny", "Progressing", "Complete")
        assert "RolloutBlocked" not in served.conditions("tiny")
        assert one_gpu.strategy() == SURGE


def test_an_old_pod_that_answers_nothing_makes_way_at_once(one_gpu: Scene) -> None:
    """Such as one that crashes: the edit that corrects it has no GPU but that one, and nobody asks for leave."""
    served = one_gpu.served
    model = image_model("tiny", replicas=1, cuda=True)
    with one_gpu.operator():
        old = one_gpu.place_first(model)
        model["spec"]["step"] = 9
        one_gpu.installed.apply(model)
        one_gpu.answer_in(one_gpu.successor(old))
        served.wait_for_condition("tiny", "Progressing", "Complete")
        assert served.conditions("tiny")["Ready"]["reason"] == "Serving"
        assert one_gpu.strategy() == SURGE


def test_an_old_pod_goes_first_until_the_controller_of_deployments_has_seen_it(one_gpu: Scene) -> None:
    """It may be slow, and events come in meanwhile."""
    installed, served = one_gpu.installed, one_gpu.served
    model = image_model("tiny", replicas=1, cuda=True)
    with one_gpu.operator():
        old = one_gpu.place_first(model)
        one_gpu.answer_in(old)
        model["spec"]["step"] = 9
        installed.apply(model)
        served.wait_for_condition("tiny", "RolloutBlocked", "NoGpuFree")
    model["spec"]["serving"]["rollout"] = "replace"
    installed.apply(model)
    with served.cluster.without("kube-controller-manager"), one_gpu.operator():
        eventually(lambda: one_gpu.strategy() == IN_PLACE, what="old pod that goes first", timeout=PATIENCE)
        model["spec"]["description"] = "It makes no pod."
        installed.apply(model)
        eventually(lambda: served.is_observed("tiny"), what="look at the edit")
        assert one_gpu.strategy() == IN_PLACE
    with one_gpu.operator():
        one_gpu.successor(old)
