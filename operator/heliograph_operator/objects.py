"""Reading API objects, which are plain JSON."""

from collections.abc import Mapping
from typing import Any

from heliograph_operator.resources import Object


def conditions_of(obj: Mapping[str, Any]) -> list[Object]:
    """Return the conditions in an object's status; none when it has no status yet."""
    found: list[Object] = (obj.get("status") or {}).get("conditions") or []
    return found


def condition_of(obj: Mapping[str, Any], kind: str, *, status: str | None = None) -> Object | None:
    """Return the condition of a type, if there is one; with `status`, only if it has that one."""
    for condition in conditions_of(obj):
        if condition["type"] == kind and status in (None, condition["status"]):
            return condition
    return None


def claims_of(pod: Mapping[str, Any]) -> list[str]:
    """Return the names of the PersistentVolumeClaims that a pod mounts."""
    volumes = pod["spec"].get("volumes") or ()
    return [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume]


def is_over(pod: Mapping[str, Any]) -> bool:
    """Return whether all containers of a pod have ended for good."""
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}
