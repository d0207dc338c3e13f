"""ImageModels in a cluster: those of examples/, and what becomes of them."""

import base64
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from cluster.waiting import eventually
from heliograph_api import naming
from node.kubectl import Kubectl, Object

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FEW = {"requests": {"cpu": "50m", "memory": "256Mi"}}
"""Resources with which many models of examples/ find room on a small node."""
READY_SECONDS = 240.0


def example(file: str, name: str, *, resources: Object | None = None, **serving: object) -> Object:
    """Return a manifest of examples/ under another name, with further keys of `spec.serving`."""
    manifest: Object = copy.deepcopy(yaml.safe_load((EXAMPLES / file).read_text()))
    manifest["metadata"]["name"] = name
    manifest["spec"]["serving"] |= {"resources": resources or FEW, **serving}
    return manifest


def condition(kubectl: Kubectl, name: str, kind: str) -> Object:
    """Return a condition of an ImageModel, empty when it has none of the kind."""
    status = kubectl.get(f"imagemodel/{name}").get("status") or {}
    return next((item for item in status.get("conditions") or () if item["type"] == kind), {})


def wait_ready(kubectl: Kubectl, *names: str) -> None:
    """Wait until models are ready."""
    for name in names:
        kubectl(
            "wait", "--for=condition=Ready", f"imagemodel/{name}", f"--timeout={READY_SECONDS:.0f}s",
            timeout=READY_SECONDS + 30,
        )  # fmt: skip


def wait_told(kubectl: Kubectl, name: str, kind: str, *, reason: str, timeout: float = 120.0) -> Object:
    """Wait until a condition has a reason, and return it."""

    def told() -> Object | None:
        found = condition(kubectl, name, kind)
        return found if found.get("reason") == reason else None

    return eventually(told, what=f"condition {kind} of {name} with the reason {reason}", timeout=timeout)


def pods(kubectl: Kubectl, name: str) -> list[Object]:
    """Return the pods of a model's runtime, those that are about to end among them."""
    return kubectl.items("pods", naming.selector_labels(name))


def deployment(kubectl: Kubectl, name: str) -> Object:
    """Return the Deployment of a model."""
    return kubectl.get(f"deployment/{naming.child_name(name)}")


def wait_until(check: Callable[[], Any], *, what: str, timeout: float = READY_SECONDS) -> Any:
    """Wait for something that takes as long as a model to start."""
    return eventually(check, what=what, timeout=timeout)


def running_pod(kubectl: Kubectl, name: str) -> Object:
    """Return the one pod of a model that is ready and not about to end."""

    def only() -> Object | None:
        ready = [pod for pod in pods(kubectl, name) if not pod["metadata"].get("deletionTimestamp") and is_ready(pod)]
        return ready[0] if len(ready) == 1 else None

    return eventually(only, what=f"the one ready pod of {name}", timeout=READY_SECONDS)


def is_ready(pod: Object) -> bool:
    """Return whether a pod takes requests."""
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def restarts(pod: Object) -> int:
    """Return how often a pod's container was started anew."""
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


def secret(kubectl: Kubectl, name: str, key: str) -> str:
    """Return what a Secret holds under a key."""
    return base64.b64decode(kubectl.get(f"secret/{name}")["data"][key]).decode()
