"""Whose an object is."""

from typing import Any

import pytest

from heliograph_api import naming
from heliograph_operator.ownership import Owner, owner_of

OURS = naming.owner_reference("m", "1")
FOREIGN = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "m", "uid": "9", "controller": True}


@pytest.mark.parametrize(
    ("references", "labels", "owner"),
    [
        ([OURS], {}, Owner.MODEL),
        ([{**FOREIGN, "controller": False}, OURS], {}, Owner.MODEL),
        ([naming.owner_reference("m", "0")], naming.child_labels("m"), Owner.PREDECESSOR),
        ([{**naming.owner_reference("m", "0"), "apiVersion": "heliograph.dev/v1"}], {}, Owner.PREDECESSOR),
        ([naming.owner_reference("n", "0")], naming.child_labels("m"), Owner.OTHER),
        ([FOREIGN], naming.child_labels("m"), Owner.OTHER),
        ([{**FOREIGN, "controller": False}], {}, Owner.OTHER),
        (None, naming.child_labels("m"), Owner.NOBODY),
        ([{**OURS, "controller": False}], {**naming.child_labels("m"), "more": "x"}, Owner.NOBODY),
        (None, naming.child_labels("n"), Owner.OTHER),
        (None, None, Owner.OTHER),
    ],
)
def test_owner(references: Any, labels: Any, owner: Owner) -> None:
    assert owner_of({"metadata": {"ownerReferences": references, "labels": labels}}, name="m", uid="1") is owner
