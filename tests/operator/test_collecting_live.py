"""What models leave in the claim that they share: when it is removed, and what never is.

Jobs, pods and the end of claims are the real controllers'; what Jobs run is the real program.
"""

import time
from pathlib import Path
from typing import Any

import pytest

from cluster.nodes import bind
from cluster.waiting import eventually
from fetcher_pods import NODE
from heliograph_api import naming
from operator_rig import running_operator
from sharers import CLAIM, Sharers


def test_what_a_deleted_model_leaves_is_removed_and_at_last_the_claim(sharers: Sharers) -> None:
    one, two = sharers.fetched("first", "one"), sharers.fetched("second", "two")
    sharers.delete("first")

    job = sharers.job(collects=one)
    claim = sharers.claim()
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("PersistentVolumeClaim", claim["metadata"]["uid"])
    assert job["spec"]["ttlSecondsAfterFinished"] == 300
    (policy,) = (it for it in sharers.served.items("NetworkPolicy") if it["metadata"]["name"] == f"{CLAIM}-gc")
    pod = job["spec"]["template"]["metadata"]["labels"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= pod.items()
    assert not policy["spec"].get("egress")
    assert sharers.folders() == {one, two}, "it is there until the Job has run"
    sharers.run(job)
    eventually(lambda: not sharers.noted("first"), what="end of the share")
    assert sharers.folders() == {two}
    assert sharers.blobs() == 1, "its content went too, however young it is"
    assert sharers.noted("second") == [two]
    assert [it["name"] for it in sharers.claim()["metadata"]["ownerReferences"]] == ["second"]

    sharers.delete("second")
    eventually(lambda: not sharers.served.items("PersistentVolumeClaim"), what="end of the claim", timeout=120)
    eventually(lambda: not sharers.served.items("Job"), what="end of the Job with it", timeout=120)


def test_weights_of_before_are_removed_when_no_pod_can_need_them(sharers: Sharers) -> None:
    old = sharers.fetched("dream", "one")
    new = sharers.fetched("dream", "two")
    time.sleep(3)
    assert not [job for job in sharers.served.items("Job") if job["metadata"]["name"] == f"{old}-gc"]
    assert set(sharers.noted("dream")) == {old, new}

    sharers.apply("dream", "two", replicas=0)
    sharers.run(sharers.job(collects=old))
    eventually(lambda: sharers.noted("dream") == [new], what="end of the old weights")
    assert sharers.folders() == {new}
    assert sharers.status("dream")["folder"] == new


def test_a_model_that_comes_back_waits_for_what_removes_its_weights(sharers: Sharers) -> None:
    one, _ = sharers.fetched("first", "one"), sharers.fetched("second", "two")
    sharers.delete("first")
    job = sharers.job(collects=one)
    admin = sharers.served.cluster.admin
    (pod,) = eventually(
        lambda: sharers.served.items("Pod", **{"batch.kubernetes.io/job-name": f"{one}-gc"}), what="its pod"
    )
    path = bind(admin, pod, node=NODE)

    sharers.apply("first", "one")
    eventually(lambda: sharers.job(collects=one)["metadata"].get("deletionTimestamp"), what="deletion of the Job")
    sharers.served.wait_for_condition("first", "Ready", "AwaitingRemoval")
    assert [it["metadata"]["uid"] for it in sharers.served.items("Job")] == [job["metadata"]["uid"]], "no fetch so far"
    admin.request("DELETE", path, json={"gracePeriodSeconds": 0}).raise_for_status()
    sharers.run(sharers.job())
    eventually(lambda: sharers.status("first").get("folder") == one, what="weights of first")
    assert [
        it["metadata"]["name"] for it in sharers.served.items("Job") if it["metadata"]["name"].endswith("-gc")
    ] == []


def test_what_happened_while_no_operator_ran(unserved_sharers: Sharers, tmp_path: Path) -> None:
    sharers, unserved = unserved_sharers, unserved_sharers.served
    options = ("--namespaces", unserved.namespace)
    with running_operator(tmp_path, unserved.kubeconfig, *options) as operator:
        operator.wait_until_ready()
        one, _ = sharers.fetched("first", "one"), sharers.fetched("second", "two")
    sharers.delete("first")
    with running_operator(tmp_path, unserved.kubeconfig, *options) as operator:
        operator.wait_until_ready()
        job = sharers.job(collects=one)
    unserved.kubectl("delete", "job", f"{one}-gc")
    with running_operator(tmp_path, unserved.kubeconfig, *options) as operator:
        operator.wait_until_ready()
        again = sharers.job(collects=one)
        assert again["metadata"]["uid"] != job["metadata"]["uid"]
        unserved.kubectl("delete", "job", f"{one}-gc")
        last = eventually(
            lambda: job if (job := sharers.job(collects=one))["metadata"]["uid"] != again["metadata"]["uid"] else None,
            what="a third Job",
        )
        sharers.run(last)
        eventually(lambda: not sharers.noted("first"), what="end of the share")


def test_the_claim_goes_when_the_last_model_takes_another_cache(sharers: Sharers) -> None:
    sharers.fetched("dream", "one", replicas=0)
    sharers.apply("dream", "two", mode="perModel", replicas=0)
    job = eventually(lambda: sharers.job() if sharers.served.items("Job") else None, what="fetch Job")
    assert sharers.claim()["metadata"].get("deletionTimestamp") is None, "it serves on from there"
    own = sharers.folder / "own"
    own.mkdir()
    sharers.run(job, own)
    eventually(
        lambda: (
            [it["metadata"]["name"] for it in sharers.served.items("PersistentVolumeClaim")]
            == [naming.child_name("dream")]
        ),
        what="end of the shared claim",
        timeout=60,
    )


def test_models_give_the_claim_up_one_after_the_other(sharers: Sharers) -> None:
    folders = {name: sharers.fetched(name, file, replicas=0) for name, file in (("first", "one"), ("second", "two"))}

    def take_its_own(name: str, file: str) -> None:
        sharers.apply(name, file, mode="perModel", replicas=0)
        job = eventually(lambda: sharers.job() if sharers.served.items("Job") else None, what="fetch Job")
        own = sharers.folder / name
        own.mkdir()
        sharers.run(job, own)
        eventually(
            lambda: naming.child_name(name) in sharers.served.conditions(name)["WeightsCached"]["message"],
            what=f"weights of {name} in a volume of its own",
        )

    take_its_own("first", "one")
    take_its_own("second", "two")
    eventually(lambda: not sharers.claim()["metadata"].get("ownerReferences"), what="nobody that uses the claim")
    assert sharers.noted("first") == [folders["first"]], "its Job has not run"

    for folder in folders.values():
        sharers.run(sharers.job(collects=folder))

    def is_going() -> bool:
        found = sharers.served.get("PersistentVolumeClaim", CLAIM)
        return found is None or "deletionTimestamp" in found["metadata"]

    eventually(is_going, what="deletion of the shared claim", timeout=60)


def test_a_model_applied_while_the_claim_is_going_gets_a_new_one(sharers: Sharers) -> None:
    folder = sharers.fetched("dream", "one", replicas=0)
    before = sharers.claim()["metadata"]
    held = [*before.get("finalizers", ()), "example.org/held"]
    sharers.served.patch("PersistentVolumeClaim", CLAIM, {"metadata": {"finalizers": held}})
    sharers.delete("dream")
    eventually(lambda: sharers.claim()["metadata"].get("deletionTimestamp"), what="deletion of the claim", timeout=120)

    sharers.apply("dream", "one", replicas=0)
    sharers.served.wait_for_condition("dream", "Ready", "AwaitingRemoval")
    assert sharers.served.items("Job") == []
    sharers.served.patch("PersistentVolumeClaim", CLAIM, {"metadata": {"finalizers": None}})
    assert sharers.job()["metadata"]["name"] == folder
    assert sharers.claim()["metadata"]["uid"] != before["uid"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"parameters": {"model": "one.gguf"}, "serving": {"cache": {"existingClaim": CLAIM}}}, "existingClaim"),
        ({"parameters": {"model": f"pvc://{CLAIM}/models/one.gguf"}}, "spec.parameters.model"),
    ],
)
def test_the_shared_claim_is_no_model_s_own(sharers: Sharers, spec: dict[str, Any], field: str) -> None:
    one = sharers.fetched("first", "one")
    sharers.served.apply("second", {"backend": "stablediffusion-ggml", **spec})

    condition = sharers.served.wait_for_condition("second", "Accepted", "InvalidSpec")
    assert condition["status"] == "False"
    assert field in condition["message"]
    assert "put them into a claim of your own" in condition["message"]
    assert sharers.served.child("Deployment", "second") is None

    sharers.delete("second")
    eventually(lambda: sharers.served.get("ImageModel", "second") is None, what="end of the model")
    assert sharers.noted("first") == [one], "nothing of it is the other's to remove"
