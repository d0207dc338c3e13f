"""Which requests a runtime takes for its own."""

import pytest

from heliograph_api.targets import is_target, target_of


@pytest.mark.parametrize(
    ("told", "namespace", "name", "expected"),
    [
        (target_of("art", "tiny"), "art", "tiny", True),
        (target_of("other", "tiny"), "art", "tiny", False),
        (target_of("art", "other"), "art", "tiny", False),
        (target_of("", "tiny"), "art", "tiny", False),
        ("tiny", "art", "tiny", False),
        ("", "art", "tiny", False),
        ("art/", "art", "tiny", False),
        # Outside a cluster, and with a manifest that was written before namespaces stood in it.
        (target_of("", "other"), "", "tiny", True),
        (target_of("art", "tiny"), "", "tiny", True),
    ],
)
def test_targets(told: str, namespace: str, name: str, *, expected: bool) -> None:
    assert is_target(told, namespace=namespace, name=name) is expected
