"""A model whose cache, or whose source, becomes another one: its pods keep what they read, whatever happens meanwhile.

Jobs, pods and the end of claims are the real controllers'; what Jobs run is the real program.
"""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from admission import unchanged_claims
from cluster.nodes import bind
from cluster.waiting import eventually
from fetcher_pods import NODE
from heliograph_api import naming
from operator_rig import Served, running_operator
from sharers import CLAIM, Sharers

OWN = naming.child_name("dream")
SOON = 3.0
"""Seconds in which an operator would have done what it must not do."""


def is_there(sharers: Sharers, claim: str) -> bool:
    return sharers.claim(claim)["metadata"].get("deletionTimestamp") is None


def mounted(served: Served) -> set[str]:
    """Return the claims that new pods of the model get."""
    deployment = served.child("Deployment", "dream")
    volumes = deployment["spec"]["template"]["spec"]["volumes"] if deployment else []
    return {it["persistentVolumeClaim"]["claimName"] for it in volumes if "persistentVolumeClaim" in it}


def serve(sharers: Sharers, folder: str) -> None:
    """Do a kubelet's part for the pod that serves from a folder: it is ready."""

    def find() -> dict[str, Any] | None:
        pods = sharers.served.items("Pod", **naming.selector_labels("dream"))
        return next((pod for pod in pods if f"models/{folder}" in json.dumps(pod["spec"])), None)

    pod = eventually(find, what=f"pod that serves from {folder}")
    admin = sharers.served.cluster.admin
    path = bind(admin, pod, node=NODE)
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    media_type = {"Content-Type": "application/strategic-merge-patch+json"}
    status = {"phase": "Running", "conditions": [ready]}
    admin.patch(f"{path}/status", headers=media_type, json={"status": status}).raise_for_status()


def folder_of(job: dict[str, Any]) -> str:
    return str(job["metadata"]["name"])


def test_a_fetch_leaves_what_others_fetched_since_it_was_planned(sharers: Sharers) -> None:
    sharers.apply("slow", "one")
    slow = sharers.job()
    sharers.apply("quick", "two")
    quick = eventually(
        lambda: next((job for job in sharers.served.items("Job") if job["metadata"]["name"] != folder_of(slow)), None),
        what="second Job",
    )
    sharers.run(quick)
    eventually(lambda: sharers.status("quick").get("folder") == folder_of(quick), what="weights of quick")

    sharers.run(slow, UNCHANGED_SECONDS="0")
    assert sharers.folders() == {folder_of(slow), folder_of(quick)}


def test_a_claim_of_its_own_stays_until_no_pod_can_need_it(sharers: Sharers) -> None:
    sharers.fetched("dream", "one", mode="perModel")
    assert mounted(sharers.served) == {OWN}
    sharers.apply("dream", "one")
    job = sharers.job()
    time.sleep(SOON)
    assert is_there(sharers, OWN), "pods serve on from there"
    assert mounted(sharers.served) == {OWN}

    sharers.run(job)
    eventually(lambda: mounted(sharers.served) == {CLAIM}, what="rollout")
    time.sleep(SOON)
    assert is_there(sharers, OWN), "the pods of before are not replaced yet"
    sharers.apply("dream", "one", replicas=0)
    eventually(lambda: sharers.served.get("PersistentVolumeClaim", OWN) is None, what="end of it", timeout=60)


def test_a_claim_of_its_own_stays_until_pods_have_folders_of_their_own(sharers: Sharers) -> None:
    sharers.fetched("dream", "one", mode="perModel")
    sharers.apply("dream", "one", mode="ephemeral")
    eventually(lambda: mounted(sharers.served) == set(), what="rollout")
    time.sleep(SOON)
    assert is_there(sharers, OWN)
    sharers.apply("dream", "one", mode="ephemeral", replicas=0)
    eventually(lambda: sharers.served.get("PersistentVolumeClaim", OWN) is None, what="end of it", timeout=60)


@pytest.mark.parametrize("others", [[], ["other"]], ids=["the last model", "one of two"])
def test_a_shared_folder_stays_until_the_same_weights_are_in_a_claim_of_its_own(
    sharers: Sharers, others: list[str]
) -> None:
    shared = sharers.fetched("dream", "one", replicas=0)
    for name in others:
        sharers.fetched(name, "two", replicas=0)
    sharers.apply("dream", "one", mode="perModel", replicas=0)
    own = sharers.job()
    assert folder_of(own) == shared
    time.sleep(SOON)
    assert is_there(sharers, CLAIM)
    assert sharers.noted("dream") == [shared]
    assert mounted(sharers.served) == {CLAIM}, "pods that come meanwhile get it"

    volume = sharers.folder / "own"
    volume.mkdir()
    sharers.run(own, volume)
    eventually(lambda: mounted(sharers.served) == {OWN}, what="rollout")
    if not others:
        eventually(lambda: sharers.served.get("PersistentVolumeClaim", CLAIM) is None, what="end of it", timeout=60)
        return
    sharers.run(sharers.job(collects=shared))
    eventually(lambda: not sharers.noted("dream"), what="end of the share")
    assert shared not in sharers.folders()
    assert is_there(sharers, OWN)


def test_what_old_pods_read_is_kept_by_every_fetch_until_they_end(sharers: Sharers) -> None:
    """Such as when the weights that were meant to follow can't be loaded, and others are tried."""
    first = sharers.fetched("dream", "one", mode="perModel")
    serve(sharers, first)
    second = sharers.fetched("dream", "two", mode="perModel")
    sharers.apply("dream", "three", mode="perModel")
    third = sharers.job()

    sharers.run(third, UNCHANGED_SECONDS="0")
    assert sharers.folders() == {first, second, folder_of(third)}


def test_nothing_goes_while_the_claim_that_models_share_is_somebody_elses(sharers: Sharers) -> None:
    sharers.fetched("dream", "one", mode="perModel", replicas=0)
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    sharers.served.apply(CLAIM, spec, kind="PersistentVolumeClaim")
    sharers.apply("dream", "one", replicas=0)

    sharers.served.wait_for_condition("dream", "NameConflict", "NameTaken")
    assert is_there(sharers, OWN)
    assert mounted(sharers.served) == {OWN}
    assert sharers.served.items("Job") == []


def test_nothing_goes_while_the_claim_that_models_share_is_refused(sharers: Sharers) -> None:
    sharers.fetched("dream", "one", mode="perModel", replicas=0)
    quota = {"hard": {"persistentvolumeclaims": "1"}}
    sharers.served.apply("volumes", quota, kind="ResourceQuota")
    sharers.apply("dream", "one", replicas=0)

    sharers.served.wait_for_condition("dream", "Progressing", "QuotaExceeded")
    assert is_there(sharers, OWN)
    assert mounted(sharers.served) == {OWN}
    assert sharers.served.items("Job") == []


def test_nothing_is_written_into_a_claim_of_somebody_elses(sharers: Sharers) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    sharers.served.apply(OWN, spec, kind="PersistentVolumeClaim")
    sharers.apply("dream", "one", mode="perModel")

    condition = sharers.served.wait_for_condition("dream", "NameConflict", "NameTaken")
    assert f"PersistentVolumeClaim {OWN}" in condition["message"]
    assert sharers.served.items("Job") == []


def test_a_fetch_that_can_not_be_written_down_is_not_done_again(sharers: Sharers) -> None:
    sharers.apply("dream", "one", mode="perModel", replicas=0)
    job = sharers.job()
    with unchanged_claims(sharers.served, probe=OWN):
        sharers.run(job)
        eventually(
            lambda: "claims stay as they are" in json.dumps(sharers.served.conditions("dream")), what="word of it"
        )
        time.sleep(SOON)
        assert [it["metadata"]["uid"] for it in sharers.served.items("Job")] == [job["metadata"]["uid"]]
    eventually(lambda: sharers.status("dream").get("folder") == folder_of(job), what="the record", timeout=90)
    eventually(lambda: sharers.served.items("Job") == [], what="end of the Job")


def test_a_fetch_into_a_claim_that_is_gone_counts_for_nothing(unserved_sharers: Sharers, tmp_path: Path) -> None:
    sharers, unserved = unserved_sharers, unserved_sharers.served
    options = ("--namespaces", unserved.namespace)
    with running_operator(tmp_path, unserved.kubeconfig, *options) as operator:
        operator.wait_until_ready()
        sharers.apply("dream", "one", mode="perModel", replicas=0)
        job = sharers.job()
    sharers.run(job)
    eventually(
        lambda: any(it["type"] == "Complete" for it in sharers.job()["status"].get("conditions", ())), what="its end"
    )
    held = {"metadata": {"finalizers": ["example.org/held"]}}
    unserved.patch("PersistentVolumeClaim", OWN, held)
    unserved.kubectl("delete", "--wait=false", "pvc", OWN)
    unserved.patch("PersistentVolumeClaim", OWN, {"metadata": {"finalizers": None}})
    eventually(lambda: unserved.get("PersistentVolumeClaim", OWN) is None, what="end of the claim")
    time.sleep(1.1)  # times of objects are whole seconds

    with running_operator(tmp_path, unserved.kubeconfig, *options) as operator:
        operator.wait_until_ready()
        again = eventually(
            lambda: next((it for it in unserved.items("Job") if it["metadata"]["uid"] != job["metadata"]["uid"]), None),
            what="another Job",
        )
        assert unserved.child("Deployment", "dream") is None, "its volume is empty"
        volume = tmp_path / "new"
        volume.mkdir()
        sharers.run(again, volume)
        eventually(lambda: unserved.child("Deployment", "dream"), what="Deployment")
