"""Changes under load: of a model, and of the gateway. No request fails."""

import json

from cluster.waiting import eventually
from heliograph_api import naming
from lifecycle.load import Load, load
from node.kubectl import Kubectl
from node.models import example, pods, running_pod, wait_ready, wait_until
from node.release import NAME, Release

TOGETHER = 2
AFTERWARDS = 10
"""Requests that must be answered once the change is over."""


def _some_more(running: Load) -> None:
    done = running.done
    eventually(lambda: running.done >= done + AFTERWARDS, what="requests after the change", timeout=60)


def _replaced(kubectl: Kubectl, name: str, old: str) -> bool:
    return {pod["metadata"]["uid"] for pod in pods(kubectl, name)}.isdisjoint({old})


def test_a_changed_model_is_rolled_out_without_a_failed_request(examples: Release) -> None:
    kubectl = examples.kubectl
    kubectl.apply(example("tiny-flux.yaml", "rolling"))
    wait_ready(kubectl, "rolling")
    old = running_pod(kubectl, "rolling")["metadata"]["uid"]
    with load(examples.gateway_address, together=TOGETHER, api_key=examples.key, model="rolling") as running:
        eventually(lambda: running.done, what="a request", timeout=60)
        kubectl("patch", "imagemodel/rolling", "--type=merge", f"--patch={json.dumps({'spec': {'step': 7}})}")
        wait_until(lambda: _replaced(kubectl, "rolling", old), what="end of the old pod")
        _some_more(running)
    assert not running.failed
    assert running_pod(kubectl, "rolling")["metadata"]["uid"] != old
    kubectl.delete("imagemodel/rolling")


def test_the_gateway_is_replaced_without_a_failed_request(examples: Release) -> None:
    kubectl, labels = examples.kubectl, {naming.NAME_LABEL: NAME, naming.COMPONENT_LABEL: "gateway"}
    kubectl.apply(example("tiny-flux.yaml", "served"))
    wait_ready(kubectl, "served")
    old = {pod["metadata"]["uid"] for pod in kubectl.items("pods", labels)}
    with load(examples.gateway_address, together=TOGETHER, api_key=examples.key, model="served") as running:
        eventually(lambda: running.done, what="a request", timeout=60)
        kubectl("rollout", "restart", f"deployment/{NAME}-gateway")
        examples.wait()
        wait_until(
            lambda: old.isdisjoint(pod["metadata"]["uid"] for pod in kubectl.items("pods", labels)),
            what="end of the old gateway",
        )
        _some_more(running)
    assert not running.failed
    kubectl.delete("imagemodel/served")
