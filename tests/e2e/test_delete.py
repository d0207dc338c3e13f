"""Deleting an ImageModel takes everything that it brought along."""

import time

import openai
import pytest

from cluster.leash import Leash
from e2e.installation import CHILDREN, OURS, Installation, draw


def test_delete_removes_children_and_route(installation: Installation, tiny: Leash) -> None:
    client = installation.client()
    assert [model.id for model in client.models.list()] == ["tiny"]
    installation.kubectl("delete", "imagemodel/tiny")
    deadline = time.monotonic() + 2
    while [model.id for model in client.models.list()] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [model.id for model in client.models.list()] == []
    with pytest.raises(openai.NotFoundError) as caught:
        draw(client, "a red circle")
    assert caught.value.code == "model_not_found"
    assert "Available models: none" in caught.value.message
    for kind in CHILDREN:
        installation.wait_until_gone(kind, OURS)
