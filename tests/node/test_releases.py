"""A release over time: upgraded from the chart before, uninstalled while models serve, and installed again.

It is in a namespace of its own, so that the other tests keep theirs.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import image_recipes
from cluster.waiting import eventually
from heliograph_api import naming
from heliograph_operator.resources import CHILD_RESOURCES
from lifecycle.load import load
from node.claims import fill_claim
from node.client import Client
from node.images import CONTROL_PLANE, Images
from node.kubectl import Kubectl
from node.models import EXAMPLES, deployment, example, running_pod, wait_ready
from node.release import Release
from pictures import Content, classify

PREVIOUS = Path(__file__).with_name("previous") / "heliograph-0.1.0.tgz"
"""The chart as it was before operator and gateway had one image, packed by `helm package`."""
RED_CIRCLE = Content("red", "circle", "white")
IMAGES = tuple(
    word
    for value in (
        f"operator.image={CONTROL_PLANE}",
        f"gateway.image={CONTROL_PLANE}",
        f"image.tag={image_recipes.version(EXAMPLES.parent)}",
    )
    for word in ("--set", value)
)
"""The images of this version, which the node has, under the chart before it."""
KINDS = (*(resource.plural for resource in CHILD_RESOURCES), "pods")
ALWAYS_THERE = {"serviceaccounts", "configmaps", "networkpolicies", "services", "deployments", "pods"}


@pytest.fixture
def second(kubectl: Kubectl, release: Release, busybox: str) -> Iterator[Release]:
    """A namespace with the examples' weights and without a release."""
    inside = kubectl.make_namespace(f"second-{uuid.uuid4().hex[:6]}")
    fill_claim(inside, busybox=busybox)
    made = Release(inside)
    yield made
    made.remove()


def serve_model(release: Release, images: Images) -> Client:
    """Apply a model, and return a client once it is ready."""
    release.kubectl.apply(example("tiny-flux.yaml", "model"))
    wait_ready(release.kubectl, "model")
    name = release.kubectl.namespace
    return Client.start(release.kubectl, name=name, image=images.client_name, url=release.url, key=release.key)


def test_the_previous_chart_is_upgraded_without_a_failed_request(second: Release, images: Images) -> None:
    second.install(*IMAGES, chart=PREVIOUS)
    client, key = serve_model(second, images), second.key
    old = deployment(second.kubectl, "model")["metadata"]["uid"]
    with load(second.gateway_address, together=2, api_key=key, model="model") as running:
        eventually(lambda: running.done, what="a request", timeout=60)
        second.upgrade()
        done = running.done
        eventually(lambda: running.done >= done + 10, what="requests after the upgrade", timeout=60)
    assert not running.failed
    assert second.key == key
    assert deployment(second.kubectl, "model")["metadata"]["uid"] == old
    wait_ready(second.kubectl, "model")
    assert classify(client.draw("model")) == RED_CIRCLE


def test_models_outlive_an_uninstalled_release_and_are_adopted_by_the_next(second: Release, images: Images) -> None:
    second.install()
    client, key = serve_model(second, images), second.key
    before = deployment(second.kubectl, "model"), running_pod(second.kubectl, "model")
    second.uninstall()
    assert running_pod(second.kubectl, "model")["metadata"]["uid"] == before[1]["metadata"]["uid"]

    second.install()
    wait_ready(second.kubectl, "model")
    after = deployment(second.kubectl, "model"), running_pod(second.kubectl, "model")
    assert [it["metadata"]["uid"] for it in after] == [it["metadata"]["uid"] for it in before]
    assert second.key == key
    assert classify(client.draw("model")) == RED_CIRCLE


def test_models_are_removed_without_an_operator(second: Release, images: Images) -> None:
    second.install()
    serve_model(second, images)
    second.uninstall()
    labels = {naming.MODEL_LABEL: naming.child_name("model")}
    assert {kind for kind in KINDS if second.kubectl.items(kind, labels)} >= ALWAYS_THERE
    second.kubectl.delete("imagemodel/model")
    for kind in KINDS:
        eventually(lambda kind=kind: not second.kubectl.items(kind, labels), what=f"end of the {kind}", timeout=90)  # type: ignore[misc]
