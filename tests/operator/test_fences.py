"""NetworkPolicies that cannot be made: no pod starts without its own, and what runs stays as large as it is at most."""

from pathlib import Path

from cluster.waiting import eventually
from heliograph_api import naming
from operator_rig import MODEL, Served, running_operator
from sharers import Sharers


def set_fences(served: Served, most: int) -> None:
    """Have the namespace hold so many NetworkPolicies at most."""
    hard = {"count/networkpolicies.networking.k8s.io": str(most)}
    served.apply("fences", {"hard": hard}, kind="ResourceQuota")
    path = f"/api/v1/namespaces/{served.namespace}/resourcequotas/fences"
    eventually(lambda: served.cluster.admin.get(path).json().get("status", {}).get("hard") == hard, what="quota")


def test_no_pod_is_made_that_nothing_fences_in(unserved: Served, tmp_path: Path) -> None:
    set_fences(unserved, 0)
    with running_operator(tmp_path, unserved.kubeconfig, "--namespaces", unserved.namespace):
        unserved.apply("bare", MODEL)
        ready = unserved.wait_for_condition("bare", "Ready", "QuotaExceeded")
        assert "allows no further NetworkPolicy" in ready["message"]
        assert "No pod is made or changed before that." in ready["message"]
        assert unserved.child("Service", "bare") is not None
        assert unserved.child("Deployment", "bare") is None
        set_fences(unserved, 1)
        unserved.wait_for_children("bare")


def test_pods_whose_fence_is_gone_become_fewer_alone(unserved: Served, tmp_path: Path) -> None:
    with running_operator(tmp_path, unserved.kubeconfig, "--namespaces", unserved.namespace):
        unserved.apply("bare", {**MODEL, "serving": {"replicas": 2}})
        unserved.wait_until_settled("bare")
        before = (unserved.child("Deployment", "bare") or {})["spec"]["template"]
        set_fences(unserved, 0)
        unserved.kubectl("delete", "networkpolicy", naming.child_name("bare"))
        unserved.wait_for_condition("bare", "Progressing", "QuotaExceeded")
        for wanted, there in ((3, 2), (1, 1), (2, 1), (0, 0), (1, 0)):
            unserved.apply("bare", {**MODEL, "step": wanted + 1, "serving": {"replicas": wanted}})
            eventually(lambda: unserved.is_observed("bare"), what="look at the edit")
            deployment = unserved.child("Deployment", "bare") or {}
            assert (deployment["spec"]["replicas"], deployment["spec"]["template"]) == (there, before)
        assert unserved.conditions("bare")["Ready"]["reason"] == "QuotaExceeded"
        set_fences(unserved, 1)
        # By now the next try may be far off; an edit is looked at when it comes. It has the template of the last one:
        # a pod of that may be there by now, which would not end for new ones that can't become ready.
        unserved.apply("bare", {**MODEL, "step": 2, "serving": {"replicas": 2}})
        unserved.wait_for_children("bare")
        unserved.wait_until_settled("bare")


def test_a_fence_that_a_fetcher_lacks_keeps_no_model_asleep(sharers: Sharers) -> None:
    served = sharers.served
    sharers.fetched("dream", "one", mode="perModel", replicas=0)
    eventually(lambda: served.child("Deployment", "dream"), what="Deployment")
    set_fences(served, len(served.items("NetworkPolicy")))
    sharers.apply("dream", "two", mode="perModel", replicas=0)
    served.wait_for_condition("dream", "Progressing", "QuotaExceeded")

    sharers.apply("dream", "two", mode="perModel", replicas=1)
    eventually(lambda: (served.child("Deployment", "dream") or {})["spec"]["replicas"] == 1, what="a replica")
