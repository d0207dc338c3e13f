"""What ails a model, told from objects as Kubernetes writes them."""

import json
from datetime import datetime, timedelta

import pytest

from heliograph_operator.diagnosis.fetching import unmade_trouble
from heliograph_operator.diagnosis.mounting import is_mounting, mounting_trouble
from heliograph_operator.diagnosis.pods import pods_trouble
from heliograph_operator.diagnosis.reasons import CAUSES
from heliograph_operator.diagnosis.runtime import runtime_trouble
from heliograph_operator.diagnosis.scheduling import misses_volume
from heliograph_operator.diagnosis.trouble import Trouble
from pod_statuses import (
    IMAGE,
    KUBELET,
    LATER,
    START,
    Status,
    crashed,
    critical,
    ended,
    failed,
    mounting,
    pod,
    pod_status,
    running,
    unscheduled,
    waiting,
)


def deployment(**conditions: tuple[str, str, str]) -> Status:
    items = [
        {"type": kind, "status": status, "reason": reason, "message": message}
        for kind, (status, reason, message) in conditions.items()
    ]
    return {"spec": {"progressDeadlineSeconds": 3900}, "status": {"conditions": items}}


def told(*pods: Status) -> Trouble:
    found = pods_trouble(pods)
    assert found is not None
    return found


@pytest.mark.parametrize("case", KUBELET)
def test_what_a_kubelet_writes_of_a_pod(case: str) -> None:
    status, reason, words = KUBELET[case]
    found = told(pod(status))
    assert found.reason == reason
    assert words in found.message
    assert "\n" not in found.message


SCHEDULER = {
    "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 "
    "Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 "
    "No preemption victims found for incoming pod.": "NoGpuFree",
    "0/2 nodes are available: 1 Insufficient cpu, 2 Insufficient memory. no new claims to deallocate, preemption: 0/2 "
    "nodes are available: 2 No preemption victims found for incoming pod.": "InsufficientMemory",
    "0/1 nodes are available: 1 Insufficient cpu.": "InsufficientCpu",
    "0/1 nodes are available: 1 Insufficient ephemeral-storage.": "InsufficientResource",
    "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.": "NoMatchingNode",
    "0/1 nodes are available: 1 node(s) had untolerated taint {gpu: yes}.": "UntoleratedTaint",
    "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.": "KeptApart",
    "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) didn't match pod affinity rules. preemption: "
    "0/2 nodes are available: 2 No preemption victims found for incoming pod.": "CacheNotShareable",
    "0/1 nodes are available: 1 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode "
    "already in-use by another pod.": "CacheNotShareable",
    "0/1 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity.": "VolumeElsewhere",
    "0/1 nodes are available: 1 node(s) had no available volume zone.": "VolumeElsewhere",
    "0/1 nodes are available: 1 node(s) had volume node affinity conflict.": "VolumeElsewhere",
    "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had volume node affinity conflict.": "NoGpuFree",
    "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind.": "ClaimPending",
    "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found": "ClaimPending",
    '0/1 nodes are available: persistentvolumeclaim "weights" not found. not found': "ClaimMissing",
    "0/1 nodes are available: 1 node(s) were unschedulable.": "Unschedulable",
    "no nodes available to schedule pods": "Unschedulable",
    "": "Unschedulable",
}


@pytest.mark.parametrize("message", SCHEDULER)
def test_what_a_scheduler_writes(message: str) -> None:
    assert told(pod(unscheduled(message))).reason == SCHEDULER[message]


def test_why_no_node_fits_is_told_without_numbers_of_nodes() -> None:
    message = next(iter(SCHEDULER))
    found = {told(pod(unscheduled(text))).message for text in (message, message.replace("2 Insuf", "7 Insuf"))}
    causes = "Insufficient nvidia.com/gpu; had untolerated taint {node-role.kubernetes.io/control-plane: }"
    assert found == {f"No node takes the pod ({causes}): {CAUSES['NoGpuFree'].remedy}."}


def test_no_node_is_to_be_added_where_the_volume_could_not_be_reached_from_it() -> None:
    elsewhere = "2 node(s) didn't match PersistentVolume's node affinity"
    lacking = f"0/3 nodes are available: 1 Insufficient nvidia.com/gpu, {elsewhere}."
    found = told(pod(unscheduled(lacking)))
    assert (found.reason, "add a node" in found.message) == ("NoGpuFree", False)
    assert "use a volume that every node reaches" in found.message
    assert misses_volume(pod(unscheduled(lacking)))
    assert not misses_volume(pod(unscheduled("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")))
    assert not misses_volume(pod(running(ready=True)))


def test_the_claim_that_is_missing_is_named() -> None:
    found = told(pod(unscheduled('persistentvolumeclaim "weights" not found')))
    assert "no PersistentVolumeClaim weights in the model's namespace: create it" in found.message


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]},
        pod_status({"waiting": {"reason": "ContainerCreating"}}),
        pod_status({"running": {"startedAt": START}}),
        running(ready=True),
        # The startup probe has just succeeded; readiness is asked next.
        running(ready=False, since=START),
        crashed("ContainerStatusUnknown", 137),
    ],
)
def test_nothing_is_wrong_so_far(status: Status) -> None:
    assert pods_trouble([pod(status)]) is None


def test_a_crash_loop_reads_the_same_in_each_of_its_states() -> None:
    end = ended("Error", 1, critical("LoadFailed: parameters.model: no; fetch it again"))
    states = [
        crashed("Error", 1, end["terminated"]["message"]),
        pod_status(end, restartCount=6),
        pod_status({"running": {"startedAt": LATER}}, lastState=end, restartCount=7),
    ]
    assert {told(pod(status)) for status in states} == {Trouble("LoadFailed", "parameters.model: no; fetch it again")}


def test_a_pull_that_fails_reads_the_same_in_both_of_its_states() -> None:
    failure = f'failed to resolve reference "{IMAGE}": not found'
    states = [
        waiting("ErrImagePull", failure),
        waiting("ImagePullBackOff", f'Back-off pulling image "{IMAGE}": ErrImagePull: {failure}'),
    ]
    assert len({told(pod(status)) for status in states}) == 1


def test_a_registrys_own_words_are_not_repeated() -> None:
    found = told(pod(waiting("ErrImagePull", "Get https://user:secret@registry/v2/: unauthorized")))
    assert "secret" not in found.message


@pytest.mark.parametrize(
    ("text", "reason", "message"),
    [
        ("spec.step: must be a number", "InvalidSpec", "spec.step: must be a number"),
        ("port: can't listen on 0.0.0.0 port 8080: in use; choose another", "LoadFailed", "port: can't listen"),
        ("Novel: parameters.model: odd; mend it", "LoadFailed", "Novel: parameters.model: odd; mend it"),
    ],
)
def test_a_runtimes_last_words(text: str, reason: str, message: str) -> None:
    found = told(pod(crashed("Error", 1, critical(text))))
    assert found.reason == reason
    assert found.message.startswith(message)


def test_a_log_that_breaks_off_is_not_quoted() -> None:
    found = told(pod(crashed("Error", 139, f"2026-05-01 12:00:01,007 INFO heliograph_runtime: pid 7\n{critical('x')}")))
    assert found.reason == "LoadFailed"
    found = told(pod(crashed("Error", 139, "2026-05-01 12:00:01,007 INFO heliograph_runtime: worker 4711 starts")))
    assert found == Trouble(
        "CrashLoop", "The container ended with status 139: look at its log with `kubectl logs --previous`."
    )


def test_what_a_container_says_is_cut_to_a_line_of_bounded_length() -> None:
    found = told(pod(crashed("Error", 1, critical("LoadFailed: " + "x" * 5000))))
    assert len(found.message) <= 600


def test_no_password_and_no_signature_is_repeated() -> None:
    text = "HTTPError: 403 for https://user:word@cdn.test/m?X-Amz-Signature=f00 and s3://b/k?sig=1 at 0x7f32ac00"
    found = told(pod(crashed("Error", 1, text)))
    assert "(HTTPError: 403 for https://cdn.test/m and s3://b/k at 0x…)" in found.message


def test_an_init_container_is_looked_at_too() -> None:
    status = pod_status({"waiting": {"reason": "PodInitializing"}})
    words = json.dumps({"reason": "WeightsNotFound", "message": "spec.parameters.model: 404; correct it"})
    fetcher = {"name": "fetch", "ready": False, "state": {}, "lastState": ended("Error", 3, words)}
    found = told(pod({**status, "initContainerStatuses": [fetcher]}))
    assert found == Trouble("WeightsNotFound", "spec.parameters.model: 404; correct it")


def test_of_several_pods_the_worst_of_the_newest_template_speaks() -> None:
    old = pod(crashed("OOMKilled", 137), template="old", created="2026-05-01T11:00:00Z")
    pulling = pod(waiting("ErrImagePull", "not found"), template="new", name="b")
    starting = pod(pod_status({"running": {"startedAt": START}}), template="new", name="c", created=LATER)
    assert told(old, pulling, starting).reason == "ImagePullFailed"
    assert pods_trouble([old, starting]) is None
    # A pod of the old template that was made anew does not make that the newest.
    assert told(old, pulling, pod(crashed("Error", 1), template="old", created=LATER)).reason == "ImagePullFailed"


@pytest.mark.parametrize(
    "message",
    ['Created new replica set "p-new"', 'ReplicaSet "p-new" is progressing.', 'Found new replica set "p-new"'],
)
def test_of_templates_of_the_same_second_the_one_that_the_deployment_names_speaks(message: str) -> None:
    pods = [pod(unscheduled("no nodes available"), template="old"), pod(crashed("OOMKilled", 137), template="new")]
    for seen in (pods, pods[::-1]):
        found = runtime_trouble(deployment(Progressing=("True", "ReplicaSetUpdated", message)), seen)
        assert found == told(pods[1])


def test_a_pod_that_is_going_says_nothing() -> None:
    assert pods_trouble([pod(crashed("OOMKilled", 137), deletionTimestamp=LATER)]) is None


def test_a_pod_that_failed_speaks_until_its_successor_is_ready_or_another_one_comes_much_later() -> None:
    evicted = pod(failed("Evicted", "The node was low on resource: memory."))
    starting = pod_status({"running": {"startedAt": LATER}})
    assert told(evicted, pod(starting, created="2026-05-01T12:05:01Z")).reason == "Evicted"
    assert pods_trouble([evicted, pod(running(ready=True), created="2026-05-01T12:05:01Z")]) is None
    assert pods_trouble([evicted, pod(starting, created="2026-05-01T13:00:00Z")]) is None
    assert (
        told(evicted, pod(unscheduled("no nodes available"), created="2026-05-01T12:05:01Z")).reason == "Unschedulable"
    )


def test_a_pod_that_waits_for_its_volumes_is_in_trouble_when_that_takes_long() -> None:
    waiting_pod, started = pod(mounting()), datetime.fromisoformat(START)
    assert is_mounting(waiting_pod)
    assert mounting_trouble([waiting_pod], now=started + timedelta(seconds=119)) is None
    later = started + timedelta(seconds=120)
    found = mounting_trouble([waiting_pod], now=later)
    assert found is not None
    assert found.message.startswith("A pod waits on its node for its volumes: look for the cause with `kubectl desc")
    waiting_pod["spec"]["volumes"] = [{"name": "models", "persistentVolumeClaim": {"claimName": "weights"}}]
    found = mounting_trouble([waiting_pod], now=later)
    assert found is not None
    assert found.message.startswith("A pod waits on its node for its PersistentVolumeClaim weights: look")
    waiting_pod["spec"]["volumes"].append({"name": "ca", "configMap": {"name": "authorities"}})
    waiting_pod["spec"]["volumes"].append({"name": "more", "configMap": {"name": "unneeded", "optional": True}})
    found = mounting_trouble([waiting_pod], now=later)
    assert found is not None
    assert "for its PersistentVolumeClaim weights, ConfigMap authorities: look" in found.message
    for other in (running(ready=False), unscheduled("no node"), waiting("ContainerCreating"), {}):
        assert not is_mounting(pod(other))
        assert mounting_trouble([pod(other)], now=later) is None
    assert not is_mounting(pod(mounting(), deletionTimestamp=LATER))


def volume_in_use(waiting_pod: Status, *others: Status) -> bool:
    now = datetime.fromisoformat(START) + timedelta(seconds=120)
    found = mounting_trouble([*others, waiting_pod], now=now)
    assert found is not None
    return found.reason == "VolumeInUse"


def on_node(name: str, status: Status, *, claim: str = "weights", is_held: bool = True) -> Status:
    found = pod(status)
    found["spec"]["nodeName"] = name
    found["spec"]["volumes"] = [{"name": "models", "persistentVolumeClaim": {"claimName": claim}}]
    if is_held:
        found["spec"]["affinity"] = {"podAffinity": {}}
    return found


def test_a_pod_may_wait_for_one_of_another_node_to_leave_the_volume() -> None:
    serving = running(ready=True)
    assert volume_in_use(on_node("b", mounting()), on_node("a", serving, is_held=False))
    assert not volume_in_use(on_node("b", mounting()))
    assert not volume_in_use(on_node("a", mounting()), on_node("a", serving))
    assert not volume_in_use(on_node("b", mounting()), on_node("a", serving, claim="others"))
    assert not volume_in_use(on_node("b", mounting()), on_node("a", {"phase": "Succeeded"}))
    assert not volume_in_use(on_node("b", mounting(), is_held=False), on_node("a", serving)), "every node can mount it"


QUOTA = (
    'pods "tiny-5d7c9" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1, used: '
    "requests.nvidia.com/gpu=4, limited: requests.nvidia.com/gpu=4"
)
CREATION = {
    QUOTA: (
        "QuotaExceeded",
        "it asks for requests.nvidia.com/gpu=1, and requests.nvidia.com/gpu=4 is all there may be): raise the quota",
    ),
    'pods "tiny-x" is forbidden: failed quota: mem: must specify limits.memory for: runtime': (
        "QuotaExceeded",
        "The ResourceQuota mem wants limits.memory for: runtime to be given",
    ),
    'pods "tiny-x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true': (
        "PodRejected",
        'The pods are refused (violates PodSecurity "restricted:latest": runAsNonRoot != true): meet the rule',
    ),
    'admission webhook "policy.example.org" denied the request: no': (
        "PodRejected",
        'admission webhook "policy.example.org" denied the request: no',
    ),
}


@pytest.mark.parametrize("message", CREATION)
def test_why_pods_are_not_made(message: str) -> None:
    reason, words = CREATION[message]
    found = runtime_trouble(deployment(ReplicaFailure=("True", "FailedCreate", message)), [pod(crashed("Error", 1))])
    assert found is not None
    assert found.reason == reason
    assert words in found.message


def test_a_quota_reads_the_same_whatever_is_used_of_it() -> None:
    texts = (
        QUOTA,
        QUOTA.replace("used: requests.nvidia.com/gpu=4", "used: requests.nvidia.com/gpu=3"),
        QUOTA.replace("5d7c9", "a1b2c"),
    )
    assert len({runtime_trouble(deployment(ReplicaFailure=("True", "FailedCreate", text)), []) for text in texts}) == 1


def test_a_replica_set_that_cannot_be_made() -> None:
    message = 'Failed to create new replica set "tiny-1": replicasets.apps "tiny-1" is forbidden: exceeded quota'
    found = runtime_trouble(deployment(Progressing=("False", "ReplicaSetCreateError", message)), [])
    assert found == Trouble("PodRejected", f"The pods are refused (exceeded quota): {CAUSES['PodRejected'].remedy}.")


def failed_create(message: str, time: str) -> Status:
    return {"reason": "FailedCreate", "note": f"Error creating: {message}", "deprecatedLastTimestamp": time}


def test_why_a_job_has_no_pod() -> None:
    webhook = 'admission webhook "policy.example.org" denied the request: no'
    quota, rule = failed_create(QUOTA, START), failed_create(webhook, LATER)
    assert unmade_trouble([{"reason": "SuccessfulCreate", "note": "Created pod: x"}]) is None
    assert unmade_trouble([quota]) == runtime_trouble(deployment(ReplicaFailure=("True", "x", QUOTA)), [])
    newest = unmade_trouble([rule, quota])
    assert newest is not None
    assert newest.message.startswith(f"The pods are refused ({webhook}): ")


def test_a_deadline_that_passed_is_told_where_the_pods_say_nothing() -> None:
    late = deployment(Progressing=("False", "ProgressDeadlineExceeded", 'ReplicaSet "tiny-1" has timed out.'))
    found = runtime_trouble(late, [pod(pod_status({"running": {"startedAt": START}}))])
    assert found is not None
    assert found.message.startswith("No further replica got ready within 3900 s")
    assert runtime_trouble(late, [pod(crashed("OOMKilled", 137))]) == told(pod(crashed("OOMKilled", 137)))
    assert runtime_trouble(deployment(Progressing=("True", "ReplicaSetUpdated", "")), []) is None
