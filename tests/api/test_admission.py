"""The policy that bounds what the schema leaves open, on a real API server."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cluster.control_plane import ControlPlane
from cluster.waiting import eventually
from heliograph_api.admission import MAX_ENTRIES, MAX_LEVELS

PATH = "/apis/heliograph.dev/v1alpha1/namespaces/{namespace}/imagemodels"
REFUSAL = f"spec must not be nested deeper than {MAX_LEVELS} levels, nor have a map or list of more than {MAX_ENTRIES}"


def maps(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


def lists(levels: int) -> str:
    return "[" * levels + "]" * levels


def create(cluster: ControlPlane, namespace: str, unknown: str) -> httpx.Response:
    """Create an ImageModel with an unknown key; its value is JSON, which Python could not always write."""
    kind = '"apiVersion": "heliograph.dev/v1alpha1", "kind": "ImageModel", "metadata": {"generateName": "bounded-"}'
    body = f'{{{kind}, "spec": {{"parameters": {{"model": "x/y"}}, "unknown": {unknown}}}}}'
    headers = {"Content-Type": "application/json"}
    return cluster.admin.post(PATH.format(namespace=namespace), content=body, headers=headers)


@pytest.fixture
def bounded(imagemodels: ControlPlane, namespace: str) -> Iterator[str]:
    """A namespace, once the API server enforces the policy: it takes a moment to read a new one."""
    eventually(lambda: create(imagemodels, namespace, maps(MAX_LEVELS)).status_code == 422, what="enforced policy")
    yield namespace
    imagemodels.admin.delete(PATH.format(namespace=namespace)).raise_for_status()


@pytest.mark.parametrize("write", [maps, lists])
@pytest.mark.parametrize("levels", [0, 1, MAX_LEVELS - 1])
def test_what_a_model_file_may_hold_is_taken(imagemodels: ControlPlane, bounded: str, write: Any, levels: int) -> None:
    assert create(imagemodels, bounded, write(levels) if levels else '"text"').status_code == 201


@pytest.mark.parametrize("write", [maps, lists])
@pytest.mark.parametrize("levels", [MAX_LEVELS, 1000, 9_998])
def test_what_nobody_could_read_again_is_refused(
    imagemodels: ControlPlane, bounded: str, write: Any, levels: int
) -> None:
    """Of the deepest, the API server itself could no longer list the kind."""
    answer = create(imagemodels, bounded, write(levels))
    assert answer.status_code == 422
    assert REFUSAL in answer.json()["message"]
    assert imagemodels.admin.get(PATH.format(namespace=bounded)).is_success


@pytest.mark.parametrize("unknown", [dict.fromkeys(map(str, range(MAX_ENTRIES + 1))), [1] * (MAX_ENTRIES + 1)])
def test_as_is_what_has_too_many_entries(imagemodels: ControlPlane, bounded: str, unknown: Any) -> None:
    answer = create(imagemodels, bounded, json.dumps({"deeper": [unknown]}))
    assert answer.status_code == 422
    assert REFUSAL in answer.json()["message"]


def test_an_update_is_held_to_it_too(imagemodels: ControlPlane, bounded: str) -> None:
    name = create(imagemodels, bounded, "1").json()["metadata"]["name"]
    answer = imagemodels.admin.patch(
        f"{PATH.format(namespace=bounded)}/{name}",
        content=f'{{"spec": {{"unknown": {lists(20)}}}}}',
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert answer.status_code == 422
    assert REFUSAL in answer.json()["message"]
