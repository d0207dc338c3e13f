"""From `kubectl apply` to a picture, on a real control plane with real weights and a real client."""

import time

import httpx
import openai
import pytest

from cluster.leash import Leash
from cluster.waiting import eventually
from e2e.installation import CHILDREN, NAMESPACE, OURS, Installation, draw
from heliograph_api.naming import child_name
from pictures import classify

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "black")
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")


def test_children_have_owner_references(installation: Installation, tiny: Leash) -> None:
    uid = installation.get("imagemodel/tiny")["metadata"]["uid"]
    for kind in CHILDREN:
        children = installation.items(kind, OURS)
        assert len(children) == 1, kind
        owner = children[0]["metadata"]["ownerReferences"][0]
        assert (owner["uid"], owner["controller"]) == (uid, True), kind


def test_client_gets_the_picture(installation: Installation, tiny: Leash) -> None:
    picture = draw(installation.client(), "a red circle on a white background", seed=1)
    assert (picture.format, picture.size) == ("PNG", (128, 128))
    seen = classify(picture)
    assert (seen.colour, seen.shape, seen.background) == ("red", "circle", "white")


def test_most_pictures_show_what_the_prompt_says(installation: Installation, tiny: Leash) -> None:
    client = installation.client()
    wanted = [(COLOURS[index % 7], SHAPES[index % 6]) for index in range(20)]
    right = 0
    for index, (colour, shape) in enumerate(wanted):
        article = "an" if colour[0] in "aeiou" else "a"
        seen = classify(draw(client, f"{article} {colour} {shape} on a white background", seed=100 + index))
        right += (seen.colour, seen.shape) == (colour, shape)
    assert right >= 16


def test_not_found_lists_the_models_there_are(installation: Installation, tiny: Leash) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        installation.client().images.generate(model="huge", prompt="a red circle")
    assert "Available models: tiny" in caught.value.message


def test_columns_tell_the_state(installation: Installation, tiny: Leash) -> None:
    header, row = installation.kubectl("get", "imagemodels").splitlines()
    assert header.split()[0] == "NAME"
    for column in ("ENGINE", "MODEL", "READY", "WEIGHTS", "AGE"):
        assert column in header
    assert row.startswith("tiny")
    assert "diffusers" in row


SCALED = f"heliograph.dev/model={child_name('scaled')}"


@pytest.mark.parametrize("with_serving", [True, False])
def test_scale_changes_the_deployment(installation: Installation, with_serving: bool) -> None:
    serving = "\n  serving: {cache: {existingClaim: heliograph-models}}" if with_serving else ""
    manifest = (
        "apiVersion: heliograph.dev/v1alpha1\nkind: ImageModel\nmetadata: {name: scaled}\n"
        f"spec:\n  parameters: {{model: model.safetensors}}{serving}\n"
    )
    installation.kubectl("apply", "--filename", "-", input=manifest)

    def replicas() -> list[int]:
        return [item["spec"]["replicas"] for item in installation.items("deployments", SCALED)]

    try:
        eventually(lambda: replicas() == [1], what="Deployment of one replica")
        installation.kubectl("scale", "im/scaled", "--replicas=2")
        eventually(lambda: replicas() == [2], what="Deployment of two replicas")
        installation.kubectl("apply", "--filename", "-", input=manifest)
        assert installation.get("im/scaled")["spec"]["serving"]["replicas"] == 2
    finally:
        installation.kubectl("delete", "im/scaled")
        installation.wait_until_gone("deployments", SCALED)


def test_operator_restart_writes_nothing(installation: Installation, tiny: Leash) -> None:
    eventually(lambda: _is_settled(installation), what="settled status")
    installation.stop_operator()
    mark = installation.cluster.audit.mark()
    installation.start_operator()
    # An event on top of the first listing; that the new process is at work is what the write at the end shows.
    installation.kubectl("annotate", "imagemodel/tiny", "tests/visited=yes")
    time.sleep(5)
    account = f"system:serviceaccount:{NAMESPACE}:heliograph-operator"
    assert installation.cluster.audit.events(mark, user=account) == []
    installation.kubectl("scale", "imagemodel/tiny", "--replicas=2")
    eventually(lambda: installation.cluster.audit.events(mark, user=account), what="a write after a real change")
    installation.kubectl("scale", "imagemodel/tiny", "--replicas=1")


def _is_settled(installation: Installation) -> bool:
    model = installation.get("imagemodel/tiny")
    status = model.get("status", {})
    return bool(
        status.get("observedGeneration") == model["metadata"]["generation"]
        and installation.items("networkpolicies", OURS)
        and status.get("replicas") is not None
    )


def test_who_waits_for_a_replica_is_told_so_and_that_the_model_was_deleted(installation: Installation) -> None:
    manifest = (
        "apiVersion: heliograph.dev/v1alpha1\nkind: ImageModel\nmetadata: {name: cold}\n"
        "spec: {parameters: {model: tiny-model/model}}\n"
    )
    installation.kubectl("apply", "--filename", "-", input=manifest)
    try:
        with httpx.Client(base_url=installation.gateway_url, headers=installation.carrying_key, timeout=60) as client:
            eventually(lambda: client.get("/v1/models/cold").is_success, what="the model at the gateway")
            body = {"model": "cold", "prompt": "a red circle", "stream": True}
            with client.stream("POST", "/v1/images/generations", json=body) as answer:
                lines = answer.iter_lines()
                first = next(lines)
                installation.kubectl("delete", "im/cold")
                rest = list(lines)
    finally:
        installation.kubectl("delete", "im/cold", "--ignore-not-found")
    assert first.startswith(": heliograph state=loading ")
    assert "event: error" in rest
    assert any('"code": "model_not_found"' in line for line in rest)
