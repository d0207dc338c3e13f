"""Rollouts that find no room: which are blocked, when nobody misses an old replica, and how they go on."""

import json
from collections.abc import Callable, Iterator
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
from heliograph_operator.rollouts import IDLE_SECONDS, is_blocked, is_idle
from operator_rig import Served, running_operator
from scaling.installed import LOAD_SERVICE, Installed, image_model

NO_GPU = Trouble("NoGpuFree", "No node takes the pod (Insufficient nvidia.com/gpu): add one.")
PATIENCE = 60.0


def rollout(*, wanted: int = 1, replicas: int, ready: int, updated: int, is_current: bool = True) -> Rollout:
    return Rollout(wanted, replicas, ready, updated, available=ready, is_current=is_current)


@pytest.mark.parametrize(
    ("state", "found", "blocked"),
    [
        (rollout(replicas=2, ready=1, updated=1), NO_GPU, True),
        (rollout(replicas=1, ready=1, updated=0), Trouble("QuotaExceeded", ""), True),
        (rollout(replicas=2, ready=1, updated=1), None, False),
        (rollout(replicas=2, ready=1, updated=1), Trouble("ImagePullFailed", ""), False),
        (rollout(replicas=2, ready=1, updated=1, is_current=False), NO_GPU, False),
        (rollout(replicas=2, ready=0, updated=1), NO_GPU, False),
        (rollout(wanted=2, replicas=2, ready=1, updated=2), NO_GPU, False),
        (None, NO_GPU, False),
    ],
    ids=["no room", "quota", "nothing wrong", "other trouble", "not seen", "nothing serves", "mere growth", "absent"],
)
def test_a_rollout_is_blocked_where_old_pods_hold_what_new_ones_need(
    state: Rollout | None, found: Trouble | None, blocked: bool
) -> None:
    assert is_blocked(state, found) is blocked


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


@pytest.fixture
def one_gpu(
    imagemodels: ControlPlane, namespace: str, helm: Callable[..., str], tmp_path: Path
) -> Iterator[tuple[Installed, Served]]:
    """A namespace with an operator and a gateway, whose models share a node with one GPU."""
    installed = Installed(imagemodels, namespace, tmp_path, helm)
    node = f"gpu-{namespace}"
    profile = {"gpuResource": "nvidia.com/gpu", "nodeSelector": {"pool": node}, "tolerations": [TOLERATION]}
    options = ("--namespaces", namespace, "--gateway-service", f"{namespace}/{LOAD_SERVICE}")
    with (
        nodes(imagemodels.admin, {node: {"nvidia.com/gpu": "1"}}),
        installed.gateway(),
        running_operator(
            tmp_path, installed.kubeconfig("operator"), *options, "--gpu-profile", json.dumps(profile)
        ) as operator,
    ):
        operator.wait_until_ready()
        yield installed, Served(imagemodels, namespace)
        imagemodels.kubectl("delete", "deployments,pods", "--all", "-n", namespace, "--force", "--grace-period=0")


def pod(served: Served, name: str, is_meant: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    def find() -> dict[str, Any] | None:
        return next(filter(is_meant, served.items("Pod", **naming.selector_labels(name))), None)

    return eventually(find, what=what, timeout=PATIENCE)


def answer_in(served: Served, found: dict[str, Any]) -> None:
    """Report a pod as ready, as its kubelet does."""
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    served.cluster.admin.patch(
        f"/api/v1/namespaces/{served.namespace}/pods/{found['metadata']['name']}/status",
        headers={"Content-Type": "application/strategic-merge-patch+json"},
        json={"status": {"phase": "Running", "conditions": [ready]}},
    ).raise_for_status()


def test_a_blocked_rollout_is_told_and_goes_on_in_place_once_it_may(one_gpu: tuple[Installed, Served]) -> None:
    installed, served = one_gpu
    model = image_model("tiny", replicas=1, cuda=True)
    installed.apply(model)
    old = pod(served, "tiny", lambda found: bool(found["spec"].get("nodeName")), "placed pod")
    answer_in(served, old)
    served.wait_for_condition("tiny", "Progressing", "Complete")

    model["spec"]["step"] = 9
    installed.apply(model)
    blocked = served.wait_for_condition("tiny", "RolloutBlocked", "NoGpuFree")
    assert (blocked["status"], served.conditions("tiny")["Ready"]["reason"]) == ("True", "Serving")
    assert "set spec.serving.rollout: replace" in blocked["message"]
    new = pod(served, "tiny", lambda found: found["metadata"]["name"] != old["metadata"]["name"], "new pod")
    assert "deletionTimestamp" not in served.get("Pod", old["metadata"]["name"])["metadata"]  # type: ignore[index]

    model["spec"]["serving"]["rollout"] = "replace"
    installed.apply(model)
    pod(served, "tiny", lambda found: "deletionTimestamp" in found["metadata"], "end of the old pod")
    served.kubectl("delete", "pod", old["metadata"]["name"], "--force", "--grace-period=0")
    name = new["metadata"]["name"]
    placed = pod(served, "tiny", lambda found: bool(found["spec"].get("nodeName")), "placed new pod")
    assert placed["metadata"]["name"] == name
    answer_in(served, placed)
    served.wait_for_condition("tiny", "Progressing", "Complete")
    assert "RolloutBlocked" not in served.conditions("tiny")
    strategy = (served.child("Deployment", "tiny") or {})["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": 1, "maxUnavailable": 0}
