"""Whether an operator has brought everything in its namespace in line and has come to rest, whatever befell it."""

import itertools
import json
import time
from pathlib import Path
from typing import Any

from cluster.fault_proxy import FaultProxy
from cluster.waiting import eventually
from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_operator.ownership import Owner, owner_of
from heliograph_operator.plan.children import plan_children
from heliograph_operator.plan.claim import UNSEEN
from heliograph_operator.settings import OperatorSettings
from operator_rig import CHILDREN, KINDS, Served

SPEC: dict[str, Any] = {
    "parameters": {"model": "tiny/model.safetensors"},
    "serving": {"cache": {"existingClaim": "weights"}},
}
_REST_SECONDS = 3.0
_NUMBERS = itertools.count(1)


def wait_until_converged(served: Served, *, timeout: float = 90.0) -> None:
    """Wait until everything is as it is planned, and the operator writes nothing for some seconds."""
    found = ["nothing has been looked at"]

    def converged() -> bool:
        found[:] = differences(served)
        return not found and _rests(served) and not differences(served)

    try:
        eventually(converged, what="state as it is planned, at rest", timeout=timeout)
    except TimeoutError as error:
        raise AssertionError("; ".join(found) or "the operator goes on writing") from error


def differences(served: Served) -> list[str]:
    """Return in what a namespace differs from the plans of its ImageModels."""
    found: list[str] = []
    planned: dict[str, dict[str, Any]] = {}
    owners: dict[str, dict[str, Any]] = {}
    for item in served.items("ImageModel"):
        obj = {"apiVersion": naming.API_VERSION, "kind": naming.KIND, **item}
        model = ImageModel.from_object(obj)
        for child in plan_children(model=model, settings=OperatorSettings(), claim=UNSEEN):
            planned[_title(child)], owners[_title(child)] = child, obj["metadata"]
        if (obj.get("status") or {}).get("observedGeneration") != obj["metadata"]["generation"]:
            found.append(f"the status of {obj['metadata']['name']} is old")
    present = {
        _title({"kind": kind, **item}): item
        for kind in CHILDREN
        for item in served.items(kind, **{naming.MANAGED_BY_LABEL: naming.MANAGED_BY})
    }
    found += [f"{title} belongs to no ImageModel" for title in present.keys() - planned.keys()]
    found += [f"{title} is missing" for title in planned.keys() - present.keys()]
    for title in planned.keys() & present.keys():
        owner, child = owners[title], present[title]
        if owner_of(child, name=owner["name"], uid=owner["uid"]) is not Owner.MODEL:
            found.append(f"{title} has another owner")
        if child["metadata"].get("deletionTimestamp"):
            found.append(f"{title} is being deleted")
        if not _holds(child, {key: planned[title][key] for key in planned[title].keys() - {"apiVersion", "kind"}}):
            found.append(f"{title} differs from its plan")
    return sorted(found)


def apply_models(served: Served, *names: str) -> None:
    """Apply ImageModels, all by one command."""
    kind = {"apiVersion": naming.API_VERSION, "kind": naming.KIND}
    items = [{**kind, "metadata": {"name": name}, "spec": SPEC} for name in names]
    served.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def upset(served: Served) -> None:
    """Change what there is in the ways in which users and others do: specs, children, ImageModels that come and go."""
    number = next(_NUMBERS)
    apply_models(served, "edited", "robbed", "tampered", "leaving", f"new-{number}")
    served.patch("ImageModel", "edited", {"spec": {"step": number}})
    delete(served, "Deployment", naming.child_name("robbed"))
    if served.child("Service", "tampered"):
        served.patch("Service", naming.child_name("tampered"), {"spec": {"selector": {"app": f"app-{number}"}}})
    delete(served, "ImageModel", "leaving")


def delete(served: Served, kind: str, name: str) -> None:
    """Delete an object that may be there, and do not wait until it is gone."""
    answer = served.cluster.admin.delete(f"{KINDS[kind].format(served.namespace)}/{name}")
    if answer.status_code != 404:
        answer.raise_for_status()


def kubeconfig_by(proxy: FaultProxy, served: Served, folder: Path) -> Path:
    """Return credentials of the operator that lead it to a proxy."""
    path = folder / "by-proxy.kubeconfig"
    path.write_text(served.kubeconfig.read_text().replace(served.cluster.url, proxy.url))
    return path


def _rests(served: Served) -> bool:
    mark = served.cluster.audit.mark()
    time.sleep(_REST_SECONDS)
    return not served.cluster.audit.events(mark, user=served.user)


def _holds(present: Any, planned: Any) -> bool:
    """Return whether all that is planned is there; the API server adds defaults, and leaves out what is empty."""
    if isinstance(planned, dict):
        return all(_holds((present or {}).get(key), value) for key, value in planned.items())
    if isinstance(planned, list):
        items = present or []
        return len(items) == len(planned) and all(map(_holds, items, planned))
    return bool(present == planned)


def _title(child: dict[str, Any]) -> str:
    return f"{child['kind']} {child['metadata']['name']}"
