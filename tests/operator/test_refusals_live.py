"""What the API server does not let be made or removed is told, and keeps nothing else from being done."""

import json
from pathlib import Path

from admission import dead_webhook, unchanged_claims
from cluster.waiting import eventually
from heliograph_api import naming
from operator_rig import MODEL, Served, running_operator
from sharers import CLAIM, Sharers

OWN = naming.child_name("dream")
ALIAS = {"spec": {"alias": "elsewhere", "backend": None, "parameters": None}}


def test_a_claim_that_can_not_be_deleted_keeps_nothing_else(sharers: Sharers) -> None:
    served = sharers.served
    sharers.fetched("dream", "one", mode="perModel", replicas=0)
    with unchanged_claims(served, probe=OWN, operation="DELETE"):
        sharers.apply("dream", "one", mode="ephemeral", replicas=0)
        condition = served.wait_for_condition("dream", "Progressing", "RemovalFailed")
        assert f"PersistentVolumeClaim {OWN}" in condition["message"]
        assert "claims stay as they are" in condition["message"]
        assert served.is_observed("dream")
        assert served.conditions("dream")["Ready"]["reason"] == "ScaledToZero"

        served.kubectl("patch", "im/dream", "--type=merge", "-p", json.dumps(ALIAS))
        served.wait_for_condition("dream", "Ready", "TargetMissing")
        assert served.child("Deployment", "dream") is None
        assert served.conditions("dream")["Progressing"]["reason"] == "RemovalFailed"
    eventually(lambda: served.get("PersistentVolumeClaim", OWN) is None, what="end of the claim", timeout=120)
    eventually(lambda: "Progressing" not in served.conditions("dream"), what="end of the word of it")


def test_weights_that_no_job_may_remove_are_told(sharers: Sharers) -> None:
    served = sharers.served
    one = sharers.fetched("dream", "one", replicas=0)
    eventually(lambda: not served.items("Job"), what="end of the first fetch")
    sharers.fetched("other", "two", replicas=0)
    eventually(lambda: not served.items("Job"), what="end of the second fetch")
    hard = {"count/jobs.batch": "0"}
    served.apply("jobs", {"hard": hard}, kind="ResourceQuota")
    path = f"/api/v1/namespaces/{served.namespace}/resourcequotas/jobs"
    eventually(lambda: served.cluster.admin.get(path).json().get("status", {}).get("hard") == hard, what="quota")

    sharers.apply("dream", "one", mode="ephemeral", replicas=0)
    condition = served.wait_for_condition("dream", "Progressing", "QuotaExceeded")
    assert f"to remove unused weights from PersistentVolumeClaim {CLAIM}" in condition["message"]
    assert served.is_observed("dream")
    assert sharers.noted("dream") == [one]

    served.kubectl("delete", "resourcequota", "jobs")
    sharers.run(sharers.job(collects=one))
    eventually(lambda: not sharers.noted("dream"), what="end of the share")
    served.wait_for_condition("dream", "Progressing", "Complete")


def test_a_webhook_that_does_not_answer_is_told(unserved: Served, tmp_path: Path) -> None:
    with running_operator(tmp_path, unserved.kubeconfig, "--namespaces", unserved.namespace):
        with dead_webhook(unserved):
            unserved.apply("guarded", MODEL)
            condition = unserved.wait_for_condition("guarded", "Ready", "ApplyFailed")
            assert 'failed calling webhook "guard.example.org"' in condition["message"]
            assert unserved.child("Service", "guarded") is not None
            assert unserved.child("Deployment", "guarded") is None
        eventually(lambda: unserved.child("Deployment", "guarded"), what="Deployment", timeout=120)


def test_the_fence_of_pods_goes_after_what_makes_them(unserved: Served, tmp_path: Path) -> None:
    def deletions() -> list[str]:
        found = unserved.cluster.audit.events(mark, user=unserved.user, verbs=["delete"])
        return [event.resource for event in found if event.code < 300]

    with running_operator(tmp_path, unserved.kubeconfig, "--namespaces", unserved.namespace):
        unserved.apply("fenced", MODEL)
        unserved.wait_for_children("fenced")
        mark = unserved.cluster.audit.mark()
        with dead_webhook(unserved):
            unserved.kubectl("patch", "im/fenced", "--type=merge", "-p", json.dumps(ALIAS))
            condition = unserved.wait_for_condition("fenced", "Progressing", "RemovalFailed")
            assert f"Deployment {naming.child_name('fenced')}" in condition["message"]
            assert unserved.child("Service", "fenced") is None
            assert unserved.child("NetworkPolicy", "fenced") is not None, "its pods are there"
        eventually(lambda: unserved.child("NetworkPolicy", "fenced") is None, what="end of the fence", timeout=120)
        found = deletions()
        assert found.index("deployments.apps") < found.index("networkpolicies.networking.k8s.io")
