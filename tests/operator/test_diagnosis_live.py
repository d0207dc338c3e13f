"""What ails a model is in its conditions and Events within 10 s, as the API server shows them.

The controllers, the scheduler and the admission rules are real; what a kubelet would write is written for it.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cluster.control_plane import ControlPlane
from cluster.nodes import TOLERATION, nodes
from cluster.waiting import eventually
from heliograph_api import naming
from heliograph_api.exits import FETCH_PERMANENT, FetchResult
from operator_rig import MODEL, RunningOperator, Served, make_namespace, running_operator
from pod_statuses import (
    FETCHER,
    IMAGE,
    KUBELET,
    LATER,
    START,
    Status,
    crashed,
    critical,
    ended,
    mounting,
    pod_status,
    running,
)

LIMIT = 10.0
"""Seconds within which a change must show."""
REQUESTS = {"requests": {"cpu": "1m", "memory": "1Mi"}}
TOLERATED = {"tolerations": [TOLERATION], "resources": REQUESTS}
RECONCILED = 'heliograph_operator_reconcile_seconds_count{outcome="done"}'

SCHEDULED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no-gpu": ({"gpus": 2}, "NoGpuFree", "Insufficient nvidia.com/gpu): scale another model down"),
    "no-memory": ({"resources": {"requests": {"memory": "1Ti"}}}, "InsufficientMemory", "use smaller weights"),
    "no-cpu": ({"resources": {"requests": {"cpu": "999"}}}, "InsufficientCpu", "Insufficient cpu"),
    "no-label": ({"nodeSelector": {"disk": "none"}}, "NoMatchingNode", "correct spec.serving.nodeSelector"),
    "tainted": ({"tolerations": []}, "UntoleratedTaint", "tolerate it in spec.serving.tolerations"),
    "no-claim": ({"cache": {"existingClaim": "absent"}}, "ClaimMissing", "no PersistentVolumeClaim absent in"),
    "unbound": ({"cache": {"existingClaim": "unbound"}}, "ClaimPending", "check its StorageClass"),
    "quota": (
        {"resources": {"limits": {"example.com/chip": "1"}}},
        "QuotaExceeded",
        "The ResourceQuota chips allows no further pod (it asks for requests.example.com/chip=1, and ",
    ),
    "rejected": ({"profile": "ghost"}, "PodRejected", '(pod rejected: RuntimeClass "absent" not found): meet the rule'),
}
"""`spec.serving`, the reason and words of the message."""


@pytest.fixture(scope="module")
def ailing(imagemodels: ControlPlane) -> Iterator[Served]:
    """A namespace with two nodes, one of them with a GPU, and with what stands in the way of some models."""
    served = make_namespace(imagemodels)
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    for kind, name, spec in (
        ("PersistentVolumeClaim", "unbound", claim),
        ("ResourceQuota", "chips", {"hard": {"requests.example.com/chip": "0"}}),
    ):
        served.apply(name, spec, kind=kind)
    with nodes(imagemodels.admin, {"plain": {}, "gpu": {"nvidia.com/gpu": "1", "example.com/chip": "8"}}):
        yield served
        imagemodels.admin.delete(f"/api/v1/namespaces/{served.namespace}").raise_for_status()


@pytest.fixture(scope="module")
def operator(ailing: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningOperator]:
    """An operator that does not list again while the tests run: what they see came by events."""
    folder = tmp_path_factory.mktemp("diagnosis")
    with running_operator(folder, ailing.kubeconfig, *options(ailing)) as operator:
        operator.wait_until_ready()
        yield operator


def options(served: Served) -> tuple[str, ...]:
    profiles = json.dumps({"ghost": {"runtimeClassName": "absent"}})
    gpu = json.dumps({"gpuResource": "nvidia.com/gpu"})
    return (
        *("--namespaces", served.namespace, "--resync-seconds", "86400"),
        *("--profiles", profiles, "--gpu-profile", gpu),
    )


@pytest.fixture(scope="module")
def placed(ailing: Served, operator: RunningOperator) -> Served:
    """An ImageModel for each case of a kubelet's, with a pod that has a node."""
    for case in KUBELET:
        ailing.apply(case, {**MODEL, "serving": TOLERATED})
    for case in KUBELET:
        placed_pod(ailing, case)
    return ailing


def placed_pod(served: Served, name: str, *, besides: str = "") -> str:
    """Return the name of a model's pod, another one than `besides`, once the scheduler has placed it."""

    def placed() -> str | None:
        pods = served.items("Pod", **naming.selector_labels(name))
        names = (pod["metadata"]["name"] for pod in pods if pod["spec"].get("nodeName"))
        return next((name for name in names if name != besides), None)

    return str(eventually(placed, what=f"placed pod of {name}"))


def write_status(served: Served, pod: str, status: Status) -> None:
    """Write a pod's status as its kubelet would, now."""
    now = datetime.now(UTC)
    earlier = (now - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = json.dumps({"status": status}).replace(START, earlier)
    served.cluster.admin.patch(
        f"/api/v1/namespaces/{served.namespace}/pods/{pod}/status",
        headers={"Content-Type": "application/merge-patch+json"},
        content=text.replace(LATER, now.strftime("%Y-%m-%dT%H:%M:%SZ")),
    ).raise_for_status()


def shown(served: Served, name: str, reason: str, *, kind: str = "Ready") -> dict[str, Any]:
    """Return a condition that comes to have a reason in time."""
    return eventually(
        lambda: found if (found := served.conditions(name).get(kind, {})).get("reason") == reason else None,
        what=f"condition {kind} of {name} with reason {reason}",
        timeout=LIMIT,
    )


def events(served: Served, name: str) -> list[tuple[str, str]]:
    """Return type and reason of an ImageModel's Events."""
    found = (event for event in served.items("Event") if event["involvedObject"]["kind"] == "ImageModel")
    return [(event["type"], event["reason"]) for event in found if event["involvedObject"]["name"] == name]


@pytest.mark.parametrize("case", KUBELET)
def test_what_a_kubelet_reports_shows(placed: Served, case: str) -> None:
    status, reason, words = KUBELET[case]
    write_status(placed, placed_pod(placed, case), status)
    condition = shown(placed, case, reason)
    assert condition["status"] == "False"
    image = placed.items("Pod", **naming.selector_labels(case))[0]["spec"]["containers"][0]["image"]
    assert words.replace(IMAGE, image) in condition["message"]
    assert shown(placed, case, reason, kind="Progressing")["message"] == condition["message"]


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("case", SCHEDULED)
def test_what_keeps_a_pod_from_a_node_shows(ailing: Served, case: str) -> None:
    serving, reason, words = SCHEDULED[case]
    ailing.apply(case, {**MODEL, "serving": {**TOLERATED, **serving}})
    assert words in shown(ailing, case, reason)["message"]


@pytest.mark.usefixtures("operator")
def test_a_model_that_is_kept_apart_from_another_shows(ailing: Served) -> None:
    spec = {**MODEL, "concurrency_groups": ["one"], "serving": {**TOLERATED, "nodeSelector": {"pool": "gpu"}}}
    ailing.apply("first", spec)
    placed_pod(ailing, "first")
    ailing.apply("second", spec)
    assert "change spec.concurrency_groups" in shown(ailing, "second", "KeptApart")["message"]


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("reason", FETCHER)
def test_what_a_fetcher_reports_shows(ailing: Served, reason: str) -> None:
    name = f"fetch-{reason.lower()}"
    ailing.apply(name, {"parameters": {"model": "hf://acme/none"}, "serving": TOLERATED})
    (pod,) = eventually(lambda: ailing.items("Pod", **naming.fetcher_labels(name)), what=f"fetcher of {name}")
    words = FetchResult(reason=reason, message=FETCHER[reason]).line()  # type: ignore[arg-type]
    status = {**pod_status(ended("Error", FETCH_PERMANENT, words), name="fetch"), "phase": "Failed"}
    write_status(ailing, pod["metadata"]["name"], status)
    for kind in ("Ready", "WeightsCached"):
        assert shown(ailing, name, reason, kind=kind)["message"] == FETCHER[reason]


@pytest.mark.parametrize(
    ("hard", "words"),
    [
        ({"pods": "0"}, "allows no further pod (it asks for pods=1, and pods=0 is all there may be): raise the quota"),
        ({"requests.storage": "1Gi"}, "allows no further PersistentVolumeClaim (it asks for requests.storage=50Gi"),
    ],
)
def test_a_quota_that_bars_the_fetcher_shows(
    unserved: Served, tmp_path: Path, hard: dict[str, str], words: str
) -> None:
    unserved.apply("small", {"hard": hard}, kind="ResourceQuota")
    status = ("get", "resourcequota/small", "--output", "jsonpath={.status.hard}")
    eventually(lambda: unserved.kubectl(*status), what="quota that is in force")
    with running_operator(tmp_path, unserved.kubeconfig, *options(unserved)) as operator:
        operator.wait_until_ready()
        unserved.apply("barred", {"parameters": {"model": "hf://acme/none"}})
        assert f"The ResourceQuota small {words}" in shown(unserved, "barred", "QuotaExceeded")["message"]
        unserved.kubectl("delete", "resourcequota/small")
        eventually(
            lambda: unserved.conditions("barred")["Ready"]["reason"] != "QuotaExceeded", what="end of the trouble"
        )


def test_a_pod_that_waits_long_for_its_volumes_shows(placed: Served) -> None:
    placed.apply("mounting", {**MODEL, "serving": TOLERATED})
    write_status(placed, placed_pod(placed, "mounting"), mounting())
    assert "`kubectl describe pod`" in shown(placed, "mounting", "VolumeNotMounted")["message"]


def test_old_replicas_serve_on_while_new_ones_fail(placed: Served) -> None:
    placed.apply("rolling", {**MODEL, "serving": TOLERATED})
    old = placed_pod(placed, "rolling")
    write_status(placed, old, running(ready=True))
    shown(placed, "rolling", "Serving")
    placed.apply("rolling", {**MODEL, "step": 9, "serving": TOLERATED})
    text = "InvalidSpec: step: must be at most 4 for this model"
    new = placed_pod(placed, "rolling", besides=old)
    write_status(placed, new, crashed("Error", 1, critical(text)))
    progressing = shown(placed, "rolling", "InvalidSpec", kind="Progressing")
    assert progressing["message"] == "step: must be at most 4 for this model"
    assert placed.conditions("rolling")["Ready"]["status"] == "True"


def test_events_tell_of_transitions_alone_and_not_again_after_a_restart(
    unserved: Served, ailing: Served, tmp_path: Path
) -> None:
    """Attempts that end as the ones before write nothing."""
    crash = crashed("Error", 1, critical("LoadFailed: parameters.model: broken; fetch it again"))
    again = pod_status(crash["containerStatuses"][0]["lastState"], restartCount=6)
    with running_operator(tmp_path, unserved.kubeconfig, *options(unserved)) as operator:
        operator.wait_until_ready()
        unserved.apply("eventful", {**MODEL, "serving": TOLERATED})
        pod = placed_pod(unserved, "eventful")
        write_status(unserved, pod, crash)
        shown(unserved, "eventful", "LoadFailed")
        eventually(lambda: ("Warning", "LoadFailed") in events(unserved, "eventful"), what="Event")
        unserved.wait_until_settled("eventful")
        before, mark = events(unserved, "eventful"), unserved.cluster.audit.mark()
        for status in (again, crash, again):
            done = operator.metric(RECONCILED)
            write_status(unserved, pod, status)
            eventually(lambda done=done: operator.metric(RECONCILED) > done, what="reconciliation")  # type: ignore[misc]
        assert unserved.cluster.audit.events(mark, user=unserved.user) == []
        assert events(unserved, "eventful") == before
        assert operator.process.stop() == 0
    with running_operator(tmp_path, unserved.kubeconfig, *options(unserved)) as operator:
        operator.wait_until_ready()
        eventually(lambda: operator.metric(RECONCILED) > 0, what="reconciliation")
        assert events(unserved, "eventful") == before
        write_status(unserved, pod, running(ready=True))
        shown(unserved, "eventful", "Serving")
        eventually(lambda: ("Normal", "Serving") in events(unserved, "eventful"), what="Event")
    assert sorted(events(unserved, "eventful")).count(("Warning", "LoadFailed")) == 1
    described = unserved.kubectl("describe", "im/eventful")
    assert "parameters.model: broken; fetch it again" in described.partition("Events:")[2]
    assert "heliograph-operator" in described.partition("Events:")[2]


def test_events_that_cannot_be_written_are_no_matter(unserved: Served, ailing: Served, tmp_path: Path) -> None:
    role = json.loads(unserved.kubectl("get", "role", "heliograph-operator", "--output", "json"))
    role["rules"] = [rule for rule in role["rules"] if "events.k8s.io" not in rule["apiGroups"]]
    unserved.kubectl("apply", "-f", "-", input=json.dumps(role))
    with running_operator(tmp_path, unserved.kubeconfig, *options(unserved)) as operator:
        operator.wait_until_ready()
        unserved.apply("silent", {**MODEL, "serving": {**TOLERATED, "nodeSelector": {"disk": "none"}}})
        shown(unserved, "silent", "NoMatchingNode")
        operator.process.wait_until(
            lambda: "the Event NoMatchingNode is lost" in operator.process.tail(), what="warning"
        )
        unserved.apply("silent", {**MODEL, "serving": TOLERATED})
        shown(unserved, "silent", "Starting")
        assert operator.metric('heliograph_operator_reconcile_seconds_count{outcome="error"}') == 0
        assert operator.metric('heliograph_operator_reconcile_seconds_count{outcome="retry"}') == 0
    assert events(unserved, "silent") == []
