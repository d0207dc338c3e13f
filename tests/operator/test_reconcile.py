"""The operator, as its users and other clients of the API server meet it."""

import json
from typing import Any

import pytest

from cluster.waiting import eventually
from heliograph_api import naming
from operator_rig import CHILDREN, MODEL, Served

TOO_MUCH = {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}
IMAGE_MODELS = "/apis/heliograph.dev/v1alpha1/namespaces/{}/imagemodels"
GARBAGE_COLLECTION = 120.0
"""Seconds: the garbage collector learns of a kind that was defined while it ran at its next resync only."""


def replicas(served: Served, name: str) -> int | None:
    deployment = served.child("Deployment", name)
    return deployment["spec"]["replicas"] if deployment else None


def container(served: Served, name: str) -> dict[str, Any]:
    deployment = served.child("Deployment", name)
    assert deployment is not None
    first: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return first


def test_an_image_model_becomes_children_and_pods_that_are_restricted(served: Served) -> None:
    served.apply("flux.1-dev-ggml", MODEL)
    children = served.wait_for_children("flux.1-dev-ggml")
    model = served.get("ImageModel", "flux.1-dev-ggml")
    assert model is not None
    for child in children.values():
        (owner,) = child["metadata"]["ownerReferences"]
        assert owner == naming.owner_reference("flux.1-dev-ggml", model["metadata"]["uid"])
        assert naming.child_labels("flux.1-dev-ggml").items() <= child["metadata"]["labels"].items()
    assert children["ServiceAccount"]["automountServiceAccountToken"] is False
    pods = eventually(lambda: served.items("Pod", **naming.selector_labels("flux.1-dev-ggml")), what="pod")
    assert len(pods) == 1
    mounts = {mount["mountPath"] for mount in pods[0]["spec"]["containers"][0]["volumeMounts"]}
    assert mounts == {"/etc/heliograph", "/models", "/tmp", "/dev/shm"}
    status = served.wait_until_settled("flux.1-dev-ggml")["status"]
    assert status["replicas"] == 1
    assert status["engine"]["name"] == "diffusers"
    assert status["url"] == f"http://{children['Service']['metadata']['name']}.{served.namespace}.svc:8080"
    assert served.conditions("flux.1-dev-ggml")["Accepted"]["status"] == "True"


def test_nothing_is_written_to_the_image_model_but_its_status(served: Served) -> None:
    served.apply("untouched", MODEL)
    metadata = served.wait_until_settled("untouched")["metadata"]
    assert "finalizers" not in metadata
    assert set(metadata["annotations"]) == {"kubectl.kubernetes.io/last-applied-configuration"}
    writers = {(entry["manager"], entry.get("subresource")) for entry in metadata["managedFields"]}
    assert writers == {("kubectl-client-side-apply", None), (naming.FIELD_MANAGER, "status")}


@pytest.mark.parametrize("kind", CHILDREN)
def test_a_deleted_child_is_made_anew(served: Served, kind: str) -> None:
    served.apply("deleted-child", MODEL)
    uid = served.wait_for_children("deleted-child")[kind]["metadata"]["uid"]
    served.kubectl("delete", kind.lower(), naming.child_name("deleted-child"))
    eventually(
        lambda: (child := served.child(kind, "deleted-child")) and child["metadata"]["uid"] != uid, what=f"new {kind}"
    )


DRIFT = [
    ("ServiceAccount", {"automountServiceAccountToken": True}),
    ("ConfigMap", {"data": {"model.json": "{}"}}),
    ("ConfigMap", {"data": {"model.json": None}}),
    ("Service", {"spec": {"selector": {"app.kubernetes.io/name": "other"}}}),
    ("NetworkPolicy", {"spec": {"ingress": [{}]}}),
    ("NetworkPolicy", {"spec": {"policyTypes": ["Ingress"]}}),
    ("Deployment", {"spec": {"replicas": 7}}),
    ("Deployment", {"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": 1}}}}),
    ("Deployment", {"spec": {"template": {"spec": {"automountServiceAccountToken": True}}}}),
    ("Deployment", {"spec": {"template": {"metadata": {"annotations": {"heliograph.dev/config-hash": "x"}}}}}),
    ("Service", {"metadata": {"labels": {naming.MANAGED_BY_LABEL: None}}}),
    ("Service", {"metadata": {"labels": {naming.MANAGED_BY_LABEL: "Helm", naming.MODEL_LABEL: "x"}}}),
    ("Service", {"metadata": {"ownerReferences": None}}),
]


@pytest.mark.parametrize("case", range(len(DRIFT)))
def test_drift_is_corrected(served: Served, case: int) -> None:
    (kind, patch), name = DRIFT[case], f"drift-{case}"
    served.apply(name, MODEL)
    before = served.wait_for_children(name)[kind]
    served.wait_until_settled(name)
    served.patch(kind, naming.child_name(name), patch)

    def is_restored() -> bool:
        child = served.child(kind, name)
        fields = ("spec", "data", "automountServiceAccountToken")
        return (
            child is not None
            and all(child.get(field) == before.get(field) for field in fields)
            and all(child["metadata"].get(key) == before["metadata"][key] for key in ("labels", "ownerReferences"))
        )

    eventually(is_restored, what=f"restored {kind}")


def test_a_widened_peer_of_the_network_policy_is_corrected(served: Served) -> None:
    """The list of peers is ours as a whole: an addition to one of its items is a hole in the fence."""
    served.apply("fence", MODEL)
    fenced = served.wait_for_children("fence")["NetworkPolicy"]["spec"]
    add = {"op": "add", "path": "/spec/ingress/0/from/0/namespaceSelector", "value": {}}
    served.patch("NetworkPolicy", naming.child_name("fence"), [add], json_patch=True)
    eventually(lambda: (served.child("NetworkPolicy", "fence") or {}).get("spec") == fenced, what="narrow peer")


def test_what_others_add_stays(served: Served) -> None:
    served.apply("shared", MODEL)
    served.wait_for_children("shared")
    name = naming.child_name("shared")
    sidecar = {"name": "sidecar", "image": "sidecar:1"}
    served.patch("Service", name, {"metadata": {"annotations": {"example.com/mesh": "on"}}})
    served.patch(
        "Deployment",
        name,
        [{"op": "add", "path": "/spec/template/spec/containers/-", "value": sidecar}],
        json_patch=True,
    )
    served.apply("shared", {**MODEL, "step": 9, "serving": {"nodeSelector": {"disk": "nvme"}}})

    def rolled() -> dict[str, Any] | None:
        deployment = served.child("Deployment", "shared")
        pod = (deployment or {})["spec"]["template"]["spec"]
        return pod if pod.get("nodeSelector") == {"disk": "nvme"} else None

    pod = eventually(rolled, what="changed Deployment")
    assert [item["name"] for item in pod["containers"]] == ["runtime", "sidecar"]
    service = served.child("Service", "shared")
    assert service is not None
    assert service["metadata"]["annotations"]["example.com/mesh"] == "on"


def test_what_is_no_longer_planned_is_removed(served: Served) -> None:
    served.apply("shrinking", {**MODEL, "serving": {"nodeSelector": {"disk": "nvme", "zone": "a"}}})
    served.wait_for_children("shrinking")
    served.apply("shrinking", {**MODEL, "serving": {"nodeSelector": {"zone": "a"}}})

    def node_selector() -> dict[str, str]:
        found: dict[str, str] = (served.child("Deployment", "shrinking") or {})["spec"]["template"]["spec"].get(
            "nodeSelector", {}
        )
        return found

    eventually(lambda: node_selector() == {"zone": "a"}, what="smaller node selector")
    served.apply("shrinking", MODEL)
    eventually(lambda: node_selector() == {}, what="no node selector")


def test_scaling_changes_the_replicas_and_nothing_else(served: Served) -> None:
    """The manifest has no `serving`, and the scale holds when the same manifest is applied again."""
    served.apply("scaled", MODEL)
    before = served.wait_for_children("scaled")["Deployment"]["spec"]["template"]
    served.kubectl("scale", "im/scaled", "--replicas=2")
    eventually(lambda: replicas(served, "scaled") == 2, what="two replicas")
    served.apply("scaled", MODEL)
    served.wait_until_settled("scaled")
    after = served.child("Deployment", "scaled")
    assert after is not None
    assert (after["spec"]["replicas"], after["spec"]["template"]) == (2, before)
    assert len(served.items("Pod", **naming.selector_labels("scaled"))) == 2
    scale = json.loads(served.kubectl("get", "--raw", f"{IMAGE_MODELS.format(served.namespace)}/scaled/scale"))
    assert scale["status"]["replicas"] == 2
    assert naming.child_name("scaled") in scale["status"]["selector"]


def test_disabling_scales_to_zero_and_the_selector_stays(served: Served) -> None:
    served.apply("off", {**MODEL, "disabled": True})
    served.wait_for_condition("off", "Ready", "Disabled")
    assert replicas(served, "off") == 0
    status = (served.get("ImageModel", "off") or {})["status"]
    assert status["replicas"] == 0
    assert status["selector"]


def test_a_changed_spec_rolls_the_pods_and_an_alias_does_not(served: Served) -> None:
    def annotation() -> str:
        template = (served.child("Deployment", "rolling") or {})["spec"]["template"]
        return str(template["metadata"]["annotations"]["heliograph.dev/config-hash"])

    served.apply("rolling", MODEL)
    served.wait_for_children("rolling")
    first = annotation()
    served.apply("rolling", {**MODEL, "description": "new", "serving": {"aliases": ["r"], "replicas": 3}})
    eventually(lambda: replicas(served, "rolling") == 3, what="three replicas")
    assert annotation() == first
    served.apply("rolling", {**MODEL, "step": 12})
    eventually(lambda: annotation() != first, what="another hash")
    config = json.loads((served.child("ConfigMap", "rolling") or {})["data"]["model.json"])
    assert config["spec"] == {**MODEL, "step": 12}


def test_deletion_leaves_nothing_behind(served: Served) -> None:
    served.apply("leaving", MODEL)
    served.wait_for_children("leaving")
    served.kubectl("delete", "im/leaving", "--timeout=10s")
    label = {naming.MODEL_LABEL: naming.child_name("leaving")}
    eventually(
        lambda: not any(served.items(kind, **label) for kind in (*CHILDREN, "Pod")),
        what="end of the children",
        timeout=GARBAGE_COLLECTION,
    )


def test_a_model_made_anew_gets_children_of_its_own(served: Served) -> None:
    """The children of the deleted one are still there when the new one comes."""
    served.apply("phoenix", MODEL)
    old = served.wait_for_children("phoenix")["Deployment"]["metadata"]["uid"]
    served.kubectl("delete", "im/phoenix")
    served.apply("phoenix", MODEL)
    uid = (served.get("ImageModel", "phoenix") or {})["metadata"]["uid"]

    def all_owned() -> bool:
        children = [served.child(kind, "phoenix") for kind in CHILDREN]
        return all(child and child["metadata"]["ownerReferences"][0]["uid"] == uid for child in children)

    eventually(all_owned, what="children of the new model", timeout=GARBAGE_COLLECTION)
    assert (served.child("Deployment", "phoenix") or {})["metadata"]["uid"] != old
    eventually(
        lambda: served.conditions("phoenix").get("Ready", {}).get("reason") in {"Starting", "Unschedulable"},
        what="Ready without a predecessor",
    )


def test_children_that_were_left_behind_are_adopted(served: Served) -> None:
    served.apply("orphaned", MODEL)
    old = served.wait_for_children("orphaned")["Service"]["metadata"]["uid"]
    served.kubectl("delete", "im/orphaned", "--cascade=orphan")
    eventually(
        lambda: not (served.child("Service", "orphaned") or {})["metadata"].get("ownerReferences"), what="orphan"
    )
    served.apply("orphaned", MODEL)
    uid = (served.get("ImageModel", "orphaned") or {})["metadata"]["uid"]

    def owner() -> str:
        references = (served.child("Service", "orphaned") or {})["metadata"].get("ownerReferences") or [{}]
        return str(references[0].get("uid"))

    eventually(lambda: owner() == uid, what="adopted Service")
    assert (served.child("Service", "orphaned") or {})["metadata"]["uid"] == old


def test_models_whose_names_slug_alike_do_not_share_children(served: Served) -> None:
    served.apply("a.b", MODEL)
    served.apply("a-b", {**MODEL, "step": 3})
    first, second = served.wait_for_children("a.b"), served.wait_for_children("a-b")
    for kind in CHILDREN:
        assert first[kind]["metadata"]["name"] != second[kind]["metadata"]["name"]
    assert first["Service"]["spec"]["selector"] != second["Service"]["spec"]["selector"]
    served.wait_until_settled("a.b")
    served.wait_until_settled("a-b")


def test_an_invalid_spec_is_reported_and_leaves_what_runs(served: Served) -> None:
    served.apply("broken", MODEL)
    served.wait_until_settled("broken")
    before = served.child("Deployment", "broken")
    assert before is not None
    served.apply("broken", {**MODEL, "step": 5, "serving": {"profile": "unheard-of"}})
    accepted = served.wait_for_condition("broken", "Accepted", "InvalidSpec")
    assert accepted["status"] == "False"
    assert accepted["message"].startswith("spec.serving.profile: unheard-of is no profile")
    model, after = served.get("ImageModel", "broken"), served.child("Deployment", "broken")
    assert model is not None
    assert after is not None
    assert model["status"]["observedGeneration"] == model["metadata"]["generation"]
    assert model["status"]["engine"]["name"] == "diffusers"
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    served.apply("broken", {**MODEL, "step": 5})
    served.wait_for_condition("broken", "Accepted", "Valid")
    rolled = served.child("Deployment", "broken")
    assert rolled is not None
    assert rolled["metadata"]["generation"] > before["metadata"]["generation"]


def test_a_spec_that_asks_for_what_the_cluster_lacks_sets_the_size_all_the_same(served: Served) -> None:
    """Such as when its profile was renamed: the model sleeps and wakes as before."""
    served.apply("renamed", MODEL)
    served.wait_until_settled("renamed")
    before = (served.child("Deployment", "renamed") or {})["spec"]["template"]
    served.apply("renamed", {**MODEL, "step": 5, "serving": {"profile": "unheard-of"}})
    served.wait_for_condition("renamed", "Accepted", "InvalidSpec")
    served.wait_for_condition("renamed", "Ready", "Unschedulable")
    served.kubectl("scale", "im/renamed", "--replicas=0")
    served.wait_for_condition("renamed", "Ready", "ScaledToZero")
    assert replicas(served, "renamed") == 0
    served.kubectl("scale", "im/renamed", "--replicas=2")
    eventually(lambda: replicas(served, "renamed") == 2, what="two replicas")
    assert (served.child("Deployment", "renamed") or {})["spec"]["template"] == before
    assert served.conditions("renamed")["Progressing"]["reason"] == "InvalidSpec"
    served.kubectl("delete", "networkpolicy", naming.child_name("renamed"))
    served.kubectl("scale", "im/renamed", "--replicas=3")
    eventually(lambda: served.is_observed("renamed"), what="look at the size")
    assert replicas(served, "renamed") == 2, "nothing fences further pods in"
    served.patch("ImageModel", "renamed", {"spec": {"step": None, "serving": {"profile": None, "replicas": 1}}})
    served.wait_for_children("renamed")
    served.wait_until_settled("renamed")
    served.wait_for_condition("renamed", "Accepted", "Valid")


def test_a_foreign_object_is_not_taken_over(served: Served) -> None:
    name = naming.child_name("squatted")
    served.apply(name, {"selector": {"app": "theirs"}, "ports": [{"port": 80}]}, kind="Service")
    served.apply("squatted", MODEL)
    conflict = served.wait_for_condition("squatted", "NameConflict", "NameTaken")
    assert f"Service {name}" in conflict["message"]
    theirs = served.get("Service", name)
    assert theirs is not None
    assert theirs["spec"]["selector"] == {"app": "theirs"}
    assert "ownerReferences" not in theirs["metadata"]
    served.kubectl("delete", "service", name)
    served.wait_for_children("squatted")
    eventually(lambda: "NameConflict" not in served.conditions("squatted"), what="end of the conflict")


def test_no_pod_is_made_whose_configuration_is_somebody_elses(served: Served) -> None:
    name = naming.child_name("misled")
    served.kubectl("create", "configmap", name, "--from-literal=model.json={}")
    served.apply("misled", MODEL)
    conflict = served.wait_for_condition("misled", "NameConflict", "NameTaken")
    assert f"ConfigMap {name}" in conflict["message"]
    assert served.child("Service", "misled") is not None
    assert served.child("Deployment", "misled") is None
    served.kubectl("delete", "configmap", name)
    served.wait_for_children("misled")


def test_an_object_of_another_controller_is_not_taken_over(served: Served) -> None:
    """Not even when it bears our labels."""
    name = naming.child_name("robbed")
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x", "uid": "1234", "controller": True}
    metadata = {"name": name, "labels": naming.child_labels("robbed"), "ownerReferences": [owner]}
    # Made in the same request as the owner is invented: the garbage collector removes it some time later.
    served.cluster.admin.post(
        f"/api/v1/namespaces/{served.namespace}/serviceaccounts", json={"metadata": metadata}
    ).raise_for_status()
    served.apply("robbed", MODEL)
    eventually(lambda: "Accepted" in served.conditions("robbed"), what="status")
    children = served.wait_for_children("robbed")
    model = served.get("ImageModel", "robbed")
    assert model is not None
    assert children["ServiceAccount"]["metadata"]["ownerReferences"][0]["uid"] in {"1234", model["metadata"]["uid"]}


def test_what_the_api_server_refuses_is_reported(served: Served) -> None:
    served.apply("refused", {**MODEL, "serving": {"resources": TOO_MUCH}})
    condition = served.wait_for_condition("refused", "Ready", "ApplyFailed")
    assert condition["status"] == "False"
    assert "The API server refuses Deployment" in condition["message"]
    assert "must be less than or equal to cpu limit" in condition["message"]
    assert served.child("Service", "refused") is not None
    served.apply("refused", MODEL)
    served.wait_until_settled("refused")
    served.wait_for_condition("refused", "Ready", "Unschedulable")


def test_pods_that_cannot_be_made_are_reported(served: Served) -> None:
    served.apply("podless", {**MODEL, "serving": {"profile": "ghost"}})
    condition = served.wait_for_condition("podless", "Ready", "PodRejected")
    assert condition["message"].startswith("The pods are refused (pod rejected")
    assert 'RuntimeClass "absent" not found' in condition["message"]


def test_an_alias_makes_no_children_and_follows_its_target(served: Served) -> None:
    served.apply("dall-e", {"alias": "The Target"})
    served.wait_for_condition("dall-e", "Ready", "TargetMissing")
    served.apply("target", {**MODEL, "name": "The Target"})
    served.wait_for_condition("dall-e", "Ready", "TargetFound")
    assert not any(served.child(kind, "dall-e") for kind in CHILDREN)
    served.kubectl("delete", "im/target")
    served.wait_for_condition("dall-e", "Ready", "TargetMissing")


def test_a_model_that_becomes_an_alias_loses_its_children(served: Served) -> None:
    served.apply("turncoat", MODEL)
    served.wait_for_children("turncoat")
    patch = {"spec": {"alias": "elsewhere", "parameters": None}}
    served.kubectl("patch", "im/turncoat", "--type=merge", "-p", json.dumps(patch))
    eventually(lambda: not any(served.child(kind, "turncoat") for kind in CHILDREN), what="end of the children")
    served.wait_for_condition("turncoat", "Ready", "TargetMissing")
    assert "url" not in (served.get("ImageModel", "turncoat") or {})["status"]


def test_pods_that_answer_make_the_model_ready(served: Served) -> None:
    served.apply("answering", MODEL)
    served.wait_until_settled("answering")
    (pod,) = served.items("Pod", **naming.selector_labels("answering"))
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    path = f"/api/v1/namespaces/{served.namespace}/pods/{pod['metadata']['name']}/status"
    served.cluster.admin.patch(
        path,
        headers={"Content-Type": "application/strategic-merge-patch+json"},
        json={"status": {"phase": "Running", "conditions": [ready]}},
    ).raise_for_status()
    condition = served.wait_for_condition("answering", "Ready", "Serving")
    assert condition["message"] == "1 of 1 replicas answer requests."
    served.wait_for_condition("answering", "Progressing", "Complete")
    assert (served.get("ImageModel", "answering") or {})["status"]["readyReplicas"] == 1
