"""Models that sleep and are woken by requests, and GPUs that go from one to the other.

The node is told that it has GPUs: the scheduler counts them as it counts real ones, and nothing else looks for any.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from node.client import Client
from node.models import condition, example, pods, running_pod, wait_ready, wait_told, wait_until
from node.release import Release
from pictures import Content, classify

GPU = "nvidia.com/gpu"
SLEEPS = {"min": 0, "max": 1, "idleSeconds": 600}


@pytest.fixture
def gpus(configured: Release) -> Iterator[Release]:
    """The release on a node that says it has two GPUs."""
    (node,) = configured.kubectl.items("nodes")
    told = {"capacity": {GPU: "2"}, "allocatable": {GPU: "2"}}
    named = ("patch", f"node/{node['metadata']['name']}", "--subresource=status", "--type=merge")
    configured.kubectl(*named, f"--patch={json.dumps({'status': told})}")
    yield configured
    configured.kubectl(*named, f"--patch={json.dumps({'status': {key: {GPU: None} for key in told}})}")


def test_an_idle_model_sleeps_and_a_held_request_wakes_it(configured: Release, client: Client) -> None:
    kubectl = configured.kubectl
    kubectl.apply(example("tiny-flux.yaml", "sleeper", scaling=SLEEPS | {"idleSeconds": 5}))
    wait_ready(kubectl, "sleeper")
    wait_until(lambda: not pods(kubectl, "sleeper"), what="end of the idle model's pod")
    assert kubectl.get("imagemodel/sleeper")["spec"]["serving"]["replicas"] == 0
    wait_told(kubectl, "sleeper", "Ready", reason="ScaledToZero")
    # So that it does not sleep again before it was looked at.
    kubectl.apply(example("tiny-flux.yaml", "sleeper", scaling=SLEEPS))
    assert classify(client.draw("sleeper")) == Content("red", "circle", "white")
    assert kubectl.get("imagemodel/sleeper")["spec"]["serving"]["replicas"] == 1
    kubectl.delete("imagemodel/sleeper")


def test_an_idle_model_hands_its_gpu_over(gpus: Release, client: Client) -> None:
    kubectl = gpus.kubectl
    kubectl.apply(
        example("tiny-flux.yaml", "holder", gpus=1, scaling=SLEEPS, priority=1),
        example("tiny-flux.yaml", "giver", gpus=1, scaling=SLEEPS),
    )
    wait_ready(kubectl, "holder", "giver")
    kubectl.apply(example("tiny-flux.yaml", "taker", gpus=1, scaling=SLEEPS))
    told = wait_told(kubectl, "taker", "Ready", reason="NoGpuFree")
    assert f"Insufficient {GPU}" in told["message"]
    with ThreadPoolExecutor(1) as pool:
        picture = pool.submit(client.draw, "taker")
        wait_told(kubectl, "giver", "Ready", reason="ScaledToZero")
        assert classify(picture.result()) == Content("red", "circle", "white")
    (container,) = running_pod(kubectl, "taker")["spec"]["containers"]
    assert container["resources"]["limits"][GPU] == "1"
    assert condition(kubectl, "holder", "Ready")["reason"] == "Serving"
    assert not [pod for pod in pods(kubectl, "giver") if not pod["metadata"].get("deletionTimestamp")]
    kubectl.delete("imagemodel/holder", "imagemodel/giver", "imagemodel/taker")
