"""What a failed test shows of the cluster."""

import subprocess
from contextlib import suppress

from cluster.kubectl import KubectlError
from node.kubectl import Kubectl, Object

_LINES = 25
_EVENTS = 40


def report(kubectl: Kubectl) -> str:
    """Return nodes, ImageModels, pods, the last events, and the ends of the logs of every pod of ours."""
    parts = [
        _shown(kubectl, "describe", "node"),
        _shown(kubectl, "get", "imagemodels,deployments,jobs,persistentvolumeclaims,pods", "-A", "-o", "wide"),
        _shown(kubectl, "get", "imagemodels", "-A", "-o", "jsonpath={range .items[*]}{.metadata.name}"
               '{range .status.conditions[*]}{"\\n  "}{.type}={.status} {.reason}: {.message}{end}{"\\n"}{end}'),
        "\n".join(_shown(kubectl, "get", "events", "-A", "--sort-by=.lastTimestamp").splitlines()[-_EVENTS:]),
    ]  # fmt: skip
    with suppress(KubectlError, subprocess.TimeoutExpired):
        for pod in kubectl.get("pods", "-A")["items"]:
            parts += _logs(kubectl, pod)
    return "\n\n".join(parts)


def _logs(kubectl: Kubectl, pod: Object) -> list[str]:
    metadata, statuses = pod["metadata"], pod["status"].get("containerStatuses") or ()
    inside = kubectl.within(metadata["namespace"])
    now: list[tuple[str, list[str]]] = [(status["name"], []) for status in statuses]
    before = [(status["name"], ["--previous"]) for status in statuses if status["restartCount"]]
    return [
        f"--- {metadata['namespace']}/{metadata['name']} {container} {' '.join(previous)}\n"
        + _shown(
            inside, "logs", metadata["name"], f"-c={container}", f"--tail={_LINES}", f"--previous={bool(previous)}"
        )
        for container, previous in now + before
    ]


def _shown(kubectl: Kubectl, *arguments: str) -> str:
    try:
        return kubectl(*arguments, timeout=30)
    except (KubectlError, subprocess.TimeoutExpired) as error:
        return str(error)
