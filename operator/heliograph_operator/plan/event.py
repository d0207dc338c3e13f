"""The Events that tell of a change of an ImageModel's conditions (k8s.io/api/events/v1 `Event`)."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from heliograph_api import naming
from heliograph_operator.diagnosis.reasons import STATES
from heliograph_operator.resources import EVENTS, Object

_MAX_NOTE_BYTES = 1024


def plan_events(obj: Object, conditions: Iterable[Mapping[str, Any]], *, now: datetime, instance: str) -> list[Object]:
    """Return an Event for each condition whose status or reason is another than the object has.

    Nothing but what was read decides, so that an operator that starts anew repeats nothing. What several conditions say
    alike is told once, and of a condition that is new only what is wrong.

    Args:
        obj: The ImageModel as it was read, before the conditions were written.
        conditions: The conditions as they were written.
        now: The time of the Events, in UTC.
        instance: Name of the operator's replica.
    """
    before = {item["type"]: item for item in (obj.get("status") or {}).get("conditions") or ()}
    told: dict[str, Mapping[str, Any]] = {}
    for condition in conditions:
        old = before.get(condition["type"])
        is_same = old is not None and all(old.get(key) == condition[key] for key in ("status", "reason"))
        if not is_same and not (old is None and condition["reason"] in STATES):
            told.setdefault(condition["reason"], condition)
    return [_event(obj, condition, now=now, instance=instance) for condition in told.values()]


def _event(obj: Object, condition: Mapping[str, Any], *, now: datetime, instance: str) -> Object:
    metadata, reason = obj["metadata"], condition["reason"]
    # The same transition of the same version has the same name: it cannot be told twice.
    identity = f"{metadata['uid']} {metadata['resourceVersion']} {condition['type']} {reason}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": f"{naming.child_name(metadata['name'])}.{digest}", "namespace": metadata["namespace"]},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": "Normal" if reason in STATES else "Warning",
        "reason": reason,
        "note": condition["message"].encode()[:_MAX_NOTE_BYTES].decode(errors="ignore"),
        "action": condition["type"],
        "regarding": {
            "apiVersion": naming.API_VERSION,
            "kind": naming.KIND,
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
        "reportingController": naming.FIELD_MANAGER,
        "reportingInstance": instance,
    }
