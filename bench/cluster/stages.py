"""What a cluster tells of a model on its way to serving, and when."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes.client import CoreV1Api, CustomObjectsApi
from kubernetes.config import new_client_from_config

from heliograph_api import naming

_PAUSE_SECONDS = 0.05
_PATIENCE_SECONDS = 900.0

Object = dict[str, Any]
Stage = tuple[str, Callable[["Sight"], bool]]


@dataclass
class Sight:
    """A model and its runtime's pods at one moment; pods that are about to end are left out."""

    model: Object
    pods: list[Object]

    def any_pod(self, check: Callable[[Object], bool]) -> bool:
        """Return whether something holds for one of the pods."""
        return any(check(pod) for pod in self.pods)


def is_placed(pod: Object) -> bool:
    """Return whether a pod has a node."""
    return "nodeName" in pod["spec"]


def is_running(pod: Object) -> bool:
    """Return whether a pod's container has been started."""
    return any("running" in (status.get("state") or {}) for status in pod["status"].get("containerStatuses") or ())


def is_ready(pod: Object) -> bool:
    """Return whether a pod takes requests."""
    return _holds(pod["status"], "Ready")


def model_is_ready(model: Object) -> bool:
    """Return whether a model's condition Ready is true."""
    return _holds(model.get("status") or {}, "Ready")


def replicas(model: Object) -> int:
    """Return how many replicas a model is to have."""
    return int(model["spec"]["serving"]["replicas"])


def _holds(status: Mapping[str, Any], kind: str) -> bool:
    return any(item["type"] == kind and item["status"] == "True" for item in status.get("conditions") or ())


class Observer:
    """Looks at a model 20 times a second, through the API server."""

    def __init__(self, kubeconfig: Path, *, namespace: str, name: str) -> None:
        """Look at one model with the credentials of a kubeconfig."""
        client = new_client_from_config(config_file=str(kubeconfig))
        self._pods, self._models = CoreV1Api(client), CustomObjectsApi(client)
        self._namespace, self._name = namespace, name

    def look(self) -> Sight:
        """Return the model as it is now."""
        model: Any = self._models.get_namespaced_custom_object(
            naming.GROUP, naming.VERSION, self._namespace, naming.PLURAL, self._name
        )
        return Sight(model, [pod for pod in self.pods() if not pod["metadata"].get("deletionTimestamp")])

    def pods(self) -> list[Object]:
        """Return the model's pods, those that are about to end among them."""
        labels = ",".join(f"{key}={value}" for key, value in naming.selector_labels(self._name).items())
        answer: Any = self._pods.list_namespaced_pod(self._namespace, label_selector=labels, _preload_content=False)
        found: list[Object] = json.loads(answer.data)["items"]
        return found

    def wait_until_gone(self) -> None:
        """Wait until the model has no pod."""
        while self.pods():
            time.sleep(_PAUSE_SECONDS)

    def times(self, stages: Sequence[Stage]) -> dict[str, float]:
        """Wait for one stage after the other; return the seconds that each took.

        Raises:
            SystemExit: A stage did not come; the message has what the model's conditions say.
        """
        taken: dict[str, float] = {}
        last = time.monotonic()
        deadline = last + _PATIENCE_SECONDS
        sight = self.look()
        for stage, is_reached in stages:
            while not is_reached(sight):
                if time.monotonic() > deadline:
                    raise SystemExit(f"{self._name}: no {stage} within {_PATIENCE_SECONDS:g} s; {_told(sight.model)}")
                time.sleep(_PAUSE_SECONDS)
                sight = self.look()
            now = time.monotonic()
            taken[stage] = now - last
            last = now
        return taken


def _told(model: Object) -> str:
    conditions = (model.get("status") or {}).get("conditions") or ()
    return next((str(item["message"]) for item in conditions if item["type"] == "Ready"), "it has no condition yet")
