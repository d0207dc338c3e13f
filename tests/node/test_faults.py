"""What goes wrong on a node: each fault shows in a condition that says what to do, or is over by itself."""

from node import host
from node.client import Client
from node.configured import MISSING_IMAGE
from node.models import example, pods, restarts, running_pod, wait_ready, wait_told, wait_until
from node.release import Release
from pictures import Content, classify

RED_CIRCLE = Content("red", "circle", "white")
TOO_LITTLE = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "192Mi"}}
"""Less than torch takes by itself, so that the kernel ends the process before the runtime can look at the weights."""


def test_a_runtime_that_is_killed_is_started_anew_and_waited_for(examples: Release, client: Client) -> None:
    kubectl = examples.kubectl
    kubectl.apply(example("tiny-flux.yaml", "killed"))
    wait_ready(kubectl, "killed")
    pod = running_pod(kubectl, "killed")
    host.kill(host.processes(pod)[0])
    wait_until(lambda: [restarts(it) for it in pods(kubectl, "killed")] == [1], what="restart of the container")
    # Whether it is ready by now or not: the request is held until it is.
    assert classify(client.draw("killed")) == RED_CIRCLE
    assert running_pod(kubectl, "killed")["metadata"]["uid"] == pod["metadata"]["uid"]
    kubectl.delete("imagemodel/killed")


def test_too_little_memory_is_told(examples: Release) -> None:
    kubectl = examples.kubectl
    kubectl.apply(example("tiny.yaml", "hungry", resources=TOO_LITTLE))
    told = wait_told(kubectl, "hungry", "Ready", reason="OutOfMemory")
    assert told["status"] == "False"
    assert "raise spec.serving.resources.limits.memory" in told["message"]
    kubectl.delete("imagemodel/hungry")


def test_a_missing_image_is_told(configured: Release) -> None:
    kubectl = configured.kubectl
    kubectl.apply(example("tiny-flux.yaml", "imageless", profile="imageless"))
    told = wait_told(kubectl, "imageless", "Ready", reason="ImagePullFailed")
    assert told["status"] == "False"
    assert MISSING_IMAGE in told["message"]
    assert "image.registry" in told["message"]
    kubectl.delete("imagemodel/imageless")


def test_a_drained_node_lets_everything_go_and_has_it_back(examples: Release, client: Client) -> None:
    """A model of one replica does not bar the drain, in spite of its PodDisruptionBudget."""
    kubectl = examples.kubectl
    kubectl.apply(example("tiny-flux.yaml", "drained"))
    wait_ready(kubectl, "drained")
    old = running_pod(kubectl, "drained")["metadata"]["uid"]
    (node,) = (item["metadata"]["name"] for item in kubectl.items("nodes"))
    flags = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=180s")
    kubectl("drain", node, *flags, timeout=210)
    try:
        assert not [pod for pod in kubectl.get("pods", "-A")["items"] if pod["spec"].get("nodeName")]
    finally:
        kubectl("uncordon", node)
    examples.wait()
    wait_until(lambda: running_pod(kubectl, "drained")["metadata"]["uid"] != old, what="a new pod")
    client.wait()
    assert classify(client.draw("drained")) == RED_CIRCLE
    kubectl.delete("imagemodel/drained")
