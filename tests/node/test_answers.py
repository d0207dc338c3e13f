"""From `helm install` to a picture in another pod, with default values and an example as it is."""

import time

from cluster.selectors import selects
from heliograph_api import naming
from node import models
from node.client import Client
from node.models import example, pods, running_pod, wait_ready, wait_told
from node.release import NAME, Release
from pictures import Content, classify

RED_CIRCLE = Content("red", "circle", "white")


def test_a_pod_gets_a_red_circle_with_the_stock_client(tiny: Release, client: Client) -> None:
    picture = client.draw("tiny")
    assert (picture.format, picture.size) == ("PNG", (128, 128))
    assert classify(picture) == RED_CIRCLE


def test_stable_diffusion_cpp_draws_the_generated_model(examples: Release, client: Client) -> None:
    examples.kubectl.apply(example("tiny-flux.yaml", "flux"))
    wait_ready(examples.kubectl, "flux")
    pod = running_pod(examples.kubectl, "flux")
    assert "heliograph-runtime-sdcpp:" in pod["spec"]["containers"][0]["image"]
    assert classify(client.draw("flux")) == RED_CIRCLE
    examples.kubectl.delete("imagemodel/flux")


def test_helm_test_passes(release: Release) -> None:
    assert "Succeeded" in release.helm("test", NAME, "--timeout=120s")


def test_every_pod_is_of_the_namespace_that_takes_restricted_ones_alone(tiny: Release) -> None:
    labels = tiny.kubectl.get(f"namespace/{tiny.kubectl.namespace}")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    found = tiny.kubectl.items("pods", {naming.NAME_LABEL: "heliograph"}) + pods(tiny.kubectl, "tiny")
    assert found
    for pod in found:
        (container,) = pod["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True


def test_network_policies_are_there(tiny: Release) -> None:
    """Every pod that serves has its own policy; the network of the development cluster enforces none.

    What policies do is the network plug-in's work, and the one here has no part for it: that objects select the pods
    that they are for is all that can be seen.
    """
    policies = tiny.kubectl.items("networkpolicies")
    (gateway,) = tiny.kubectl.items("pods", {naming.COMPONENT_LABEL: "gateway"})
    expected = {
        f"{NAME}-gateway": (gateway, ["Ingress"]),
        naming.child_name("tiny"): (running_pod(tiny.kubectl, "tiny"), ["Ingress", "Egress"]),
    }
    for name, (pod, types) in expected.items():
        selecting = [policy for policy in policies if selects(policy["spec"]["podSelector"], pod["metadata"]["labels"])]
        assert [policy["metadata"]["name"] for policy in selecting] == [name]
        assert selecting[0]["spec"]["policyTypes"] == types


def test_nothing_is_written_between_two_looks_at_everything(tiny: Release) -> None:
    wait_told(tiny.kubectl, "tiny", "Progressing", reason="Complete")
    before = tiny.kubectl.get("imagemodel/tiny"), models.deployment(tiny.kubectl, "tiny")
    time.sleep(10)
    after = tiny.kubectl.get("imagemodel/tiny"), models.deployment(tiny.kubectl, "tiny")
    assert [obj["metadata"]["resourceVersion"] for obj in after] == [
        obj["metadata"]["resourceVersion"] for obj in before
    ]
