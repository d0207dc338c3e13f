"""What shows only after a while; pytest comes to this file last."""

from heliograph_api import naming
from node.kubectl import Object
from node.models import pods, restarts
from node.release import COMPONENTS, NAME, Release


def test_nothing_of_the_installation_was_started_anew(tiny: Release) -> None:
    """No probe has ended a container and none has crashed, in the pods that are there and in those before them."""
    found = [
        pod
        for component in COMPONENTS
        for pod in tiny.kubectl.items("pods", {naming.NAME_LABEL: NAME, naming.COMPONENT_LABEL: component})
    ]
    assert len(found) == len(COMPONENTS)
    assert {
        pod["metadata"]["name"]: restarts(pod) for pod in [*found, *pods(tiny.kubectl, "tiny")] if restarts(pod)
    } == {}
    ours = tuple(f"{NAME}-{component}-" for component in COMPONENTS)
    assert [
        event["message"]
        for event in tiny.kubectl.items("events")
        if event["involvedObject"]["name"].startswith(ours) and _tells_of_an_end(event)
    ] == []


def _tells_of_an_end(event: Object) -> bool:
    """Return whether an event, which is kept for an hour, tells of a container that crashed, or that a probe ended."""
    reason, message = event["reason"], event["message"]
    again = reason == "Started" and (event.get("count") or 1) > 1
    return bool(again or reason == "BackOff" or (reason == "Unhealthy" and message.startswith("Liveness")))
