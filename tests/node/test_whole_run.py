"""What shows only after a while; pytest comes to this file last."""

from heliograph_api import naming
from node.models import pods, restarts
from node.release import COMPONENTS, NAME, Release


def test_nothing_of_the_installation_was_started_anew(tiny: Release) -> None:
    """No probe has ended a container, in as long as the run took, and none has crashed."""
    found = [
        pod
        for component in COMPONENTS
        for pod in tiny.kubectl.items("pods", {naming.NAME_LABEL: NAME, naming.COMPONENT_LABEL: component})
    ]
    assert len(found) == len(COMPONENTS)
    assert {
        pod["metadata"]["name"]: restarts(pod) for pod in [*found, *pods(tiny.kubectl, "tiny")] if restarts(pod)
    } == {}
