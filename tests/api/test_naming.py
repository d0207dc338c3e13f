"""Names of children: within Kubernetes' limits for every name that an ImageModel may have."""

import re

import pytest

from heliograph_api import naming

DNS_1035 = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
NAMES = ["tiny", "flux.1-dev-ggml", "1", "0.0", "a" * 253, "a.b", "a-b", "9lives", "a" * 39 + ".b", "a" * 40 + "-b"]


@pytest.mark.parametrize("name", NAMES)
def test_a_child_is_named_by_a_service_name(name: str) -> None:
    child = naming.child_name(name)
    assert DNS_1035.fullmatch(child)
    assert len(child) <= 49  # Leaves room for the hashes that Deployments and Jobs append.
    assert "--" not in child


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_within_their_limits(name: str) -> None:
    for key, value in naming.child_labels(name).items():
        assert LABEL_VALUE.fullmatch(value), key
        assert len(key.rpartition("/")[2]) <= 63


def test_no_two_models_share_a_child() -> None:
    assert len({naming.child_name(name) for name in NAMES}) == len(NAMES)


def test_a_name_is_readable_and_does_not_change_between_versions() -> None:
    assert naming.child_name("flux.1-dev-ggml") == "flux-1-dev-ggml-57d88a04"
    assert naming.child_name("1") == "m-1-6b86b273"


def test_selector_labels_are_among_the_labels_of_children() -> None:
    assert naming.selector_labels("tiny").items() <= naming.child_labels("tiny").items()


def test_the_owner_controls_its_children() -> None:
    assert naming.owner_reference("flux.1-dev", "b4e6") == {
        "apiVersion": "heliograph.dev/v1alpha1",
        "kind": "ImageModel",
        "name": "flux.1-dev",
        "uid": "b4e6",
        "controller": True,
        "blockOwnerDeletion": True,
    }
