"""A tenant who means ill, against a real API server and the operator's process: what he writes hurts nobody else.

For each manifest: the API server refuses it in the words that it should, or the operator takes it, and then no pod is
outside the *restricted* Pod Security Standard, no foreign Secret is read, no other namespace is touched, and no name of
another tenant's leads elsewhere.
"""

import itertools
import json
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import pytest
import yaml

from cluster.control_plane import ControlPlane
from cluster.waiting import eventually
from heliograph_api import naming
from heliograph_api.errors import SpecError
from heliograph_api.manifest import ImageModel
from heliograph_gateway.names import NameIndex, Route
from heliograph_operator.plan.children import plan_children
from heliograph_operator.settings import OperatorSettings
from hostile.manifest_cases import CASES, MODEL, Hostile
from operator_rig import ACCOUNT, CHILDREN, KINDS, Served, make_namespace, running_operator

RIGHTS = [
    {"apiGroups": ["heliograph.dev"], "resources": ["imagemodels"], "verbs": ["*"]},
    {"apiGroups": ["", "apps", "networking.k8s.io"], "resources": ["*"], "verbs": ["create", "get", "list"]},
]
"""The tenant's, in his own namespace."""
VICTIMS = {
    "flux": {**MODEL, "name": "black-forest-labs/FLUX.1", "serving": {"aliases": ["dall-e-3"]}},
    "gpt-image-1": {"alias": "flux"},
}
NAMES = ("flux", "black-forest-labs/FLUX.1", "dall-e-3", "gpt-image-1")
VOLUMES = {"configMap", "downwardAPI", "emptyDir", "persistentVolumeClaim"}


@dataclass(frozen=True)
class Arena:
    """A tenant's namespace and his victim's, both served by one operator."""

    tenant: Served
    victim: Served
    operator_user: str
    mallory: httpx.Client
    """The tenant, with no more than his rights."""
    settings: OperatorSettings

    @property
    def cluster(self) -> ControlPlane:
        return self.tenant.cluster

    def post(self, case: Hostile, name: str) -> httpx.Response:
        body = case.body(name, victim=self.victim.namespace)
        headers = {"Content-Type": case.media_type}
        return self.mallory.post(
            KINDS["ImageModel"].format(self.tenant.namespace), content=body.encode(), headers=headers
        )

    def names(self) -> NameIndex:
        """Return what names lead to, as a gateway has it."""
        routes = []
        for obj in (*self.victim.items("ImageModel"), *self.tenant.items("ImageModel")):
            try:
                model = ImageModel.from_object(obj)
            except SpecError:
                continue
            created = datetime.fromisoformat(obj["metadata"]["creationTimestamp"])
            routes.append(Route(model, int(created.timestamp())))
        return NameIndex(routes)

    def wait_for_verdict(self, name: str) -> dict[str, Any]:
        """Wait until the operator has judged an ImageModel of the tenant's, and return the condition Accepted."""
        return eventually(lambda: self.tenant.conditions(name).get("Accepted"), what=f"verdict on {name[:40]}")


def bind(served: Served, subject: Mapping[str, str], role: str, rules: list[dict[str, Any]] | None = None) -> None:
    group = "rbac.authorization.k8s.io"
    items: list[dict[str, Any]] = [
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": f"{role}-of-another"},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": role},
            "subjects": [subject],
        }
    ]
    if rules is not None:
        items.append({"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": role}, "rules": rules})
    served.kubectl("apply", "-f", "-", input=json.dumps({"kind": "List", "apiVersion": "v1", "items": items}))


def client_of(cluster: ControlPlane, user: str) -> httpx.Client:
    credentials = yaml.safe_load(cluster.kubeconfig(user).read_text())["users"][0]["user"]
    trust = ssl.create_default_context(cafile=cluster.ca_certificate)
    trust.load_cert_chain(credentials["client-certificate"], credentials["client-key"])
    return httpx.Client(base_url=cluster.url, verify=trust, timeout=30, trust_env=False)


@pytest.fixture(scope="module")
def arena(imagemodels: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """The two namespaces; the victim's models are older by a second, which is what a creation time is told to."""
    # Of equal age, the first by namespace would win: that is the tenant.
    tenant, victim = sorted((make_namespace(imagemodels) for _ in range(2)), key=lambda served: served.namespace)
    system = make_namespace(imagemodels)
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": system.namespace}
    for served in (tenant, victim):
        bind(served, subject, ACCOUNT)
        served.kubectl("create", "secret", "generic", "mine", "--from-literal=token=canary")
    mallory = {"kind": "User", "name": "mallory", "apiGroup": "rbac.authorization.k8s.io"}
    bind(tenant, mallory, "tenant", RIGHTS)
    folder = tmp_path_factory.mktemp("tenants")
    options = ("--namespaces", f"{tenant.namespace},{victim.namespace}", "--resync-seconds", "86400")
    with (
        running_operator(folder, system.kubeconfig, *options) as operator,
        client_of(imagemodels, "mallory") as client,
    ):
        operator.wait_until_ready()
        for name, spec in VICTIMS.items():
            victim.apply(name, spec)
        victim.wait_for_children("flux")
        victim.wait_until_settled("flux")
        time.sleep(1)
        yield Arena(tenant, victim, system.user, client, OperatorSettings())
        assert operator.is_ready()
    for served in (tenant, victim, system):
        imagemodels.admin.delete(f"/api/v1/namespaces/{served.namespace}").raise_for_status()


@pytest.fixture(scope="module")
def possessions(arena: Arena) -> dict[str, list[dict[str, Any]]]:
    """What the victim has before anything happens."""
    return owned(arena.victim)


def owned(served: Served) -> dict[str, list[dict[str, Any]]]:
    return {kind: served.items(kind) for kind in (*CHILDREN, "ImageModel")}


def pod_templates(children: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for child in children:
        if "template" in child.get("spec", {}):
            yield child["spec"]["template"]


def references(node: Any, key: str) -> Iterator[Any]:
    """Yield the value of every `key` below a node."""
    if isinstance(node, Mapping):
        if key in node:
            yield node[key]
        for value in node.values():
            yield from references(value, key)
    elif isinstance(node, list):
        for item in node:
            yield from references(item, key)


def assert_pods_are_harmless(arena: Arena, model: ImageModel, children: list[dict[str, Any]]) -> None:
    named = model.spec.serving.hf_token_secret_ref
    for template in pod_templates(children):
        pod = template["spec"]
        # The namespace enforces *restricted*: the API server itself says whether a pod is that.
        answer = arena.cluster.admin.post(
            KINDS["Pod"].format(arena.tenant.namespace),
            params={"dryRun": "All"},
            json={
                "metadata": {**template["metadata"], "generateName": "dry-"},
                "spec": {**pod, "restartPolicy": "Never"},
            },
        )
        assert "violates PodSecurity" not in answer.text
        assert answer.status_code in {201, 422}, answer.text
        assert {kind for volume in pod["volumes"] for kind in volume} - {"name"} <= VOLUMES
        secrets = {reference["name"] for reference in references(pod, "secretKeyRef")}
        assert secrets <= ({named.name} if named else set())
        assert not list(references(pod, "secretRef")) + list(references(pod, "secretName"))
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            assert container["command"][0] == "heliograph"
            assert container["name"] == "fetch" or not list(references(container, "secretKeyRef"))
            assert "envFrom" not in container
        assert pod["serviceAccountName"] == naming.child_name(model.name)
        assert pod["automountServiceAccountToken"] is False
        assert pod.get("schedulerName", "default-scheduler") == "default-scheduler"
        assert not {"hostNetwork", "hostPID", "hostIPC", "priorityClassName", "runtimeClassName"} & pod.keys()


def assert_children_are_the_models_own(arena: Arena, obj: dict[str, Any]) -> None:
    name, uid = obj["metadata"]["name"], obj["metadata"]["uid"]
    label = naming.child_name(name)
    for kind in CHILDREN:
        for child in arena.tenant.items(
            kind, **{naming.MODEL_LABEL: label, naming.MANAGED_BY_LABEL: naming.MANAGED_BY}
        ):
            metadata = child["metadata"]
            assert metadata["name"].startswith(label)
            assert metadata["ownerReferences"] == [naming.owner_reference(name, uid)]
            assert metadata["labels"].keys() == naming.child_labels(name).keys()


@pytest.mark.parametrize("what", CASES)
def test_a_hostile_manifest_hurts_nobody(arena: Arena, possessions: dict[str, list[dict[str, Any]]], what: str) -> None:
    case, name = CASES[what], f"case-{list(CASES).index(what)}"
    if case.refused:
        answer = arena.post(case, name)
        assert answer.is_client_error
        assert case.refused in answer.json()["message"]
        return
    mark = arena.cluster.audit.mark()
    obj = arena.post(case, name).raise_for_status().json()
    name = obj["metadata"]["name"]
    try:
        verdict = arena.wait_for_verdict(name)
        assert (verdict["reason"], case.says in verdict["message"]) == (case.reason, True)
        assert len(json.dumps(arena.tenant.get("ImageModel", name)["status"])) < 100_000  # type: ignore[index]
        assert "hunter2" not in verdict["message"]
        if case.reason == "Valid":
            eventually(lambda: arena.tenant.child("Service", name), what="Service")
            model = ImageModel.from_object(obj)
            assert_pods_are_harmless(arena, model, plan_children(model=model, settings=arena.settings))
            actual = [child for kind in CHILDREN if (child := arena.tenant.child(kind, name))]
            assert_pods_are_harmless(arena, model, actual)
        assert_children_are_the_models_own(arena, obj)
        index = arena.names()
        for taken in (*NAMES, *(f"{arena.victim.namespace}/{name}" for name in VICTIMS)):
            assert index.get(taken).qualified_name == f"{arena.victim.namespace}/flux"  # type: ignore[union-attr]
        assert index.get(f"{arena.victim.namespace}/next") is None
        writes = arena.cluster.audit.events(mark, user=arena.operator_user)
        assert {event.namespace for event in writes} == {arena.tenant.namespace}
    finally:
        arena.mallory.delete(f"{KINDS['ImageModel'].format(arena.tenant.namespace)}/{name}").raise_for_status()
    assert owned(arena.victim) == possessions


def test_there_are_enough_manifests() -> None:
    assert len(CASES) >= 60


def test_the_victims_namespace_is_closed_to_the_tenant(arena: Arena) -> None:
    for path, body in (
        (KINDS["ImageModel"], Hostile(MODEL).body("evil", victim="")),
        (KINDS["ConfigMap"], '{"metadata": {"name": "evil"}}'),
    ):
        answer = arena.mallory.post(
            path.format(arena.victim.namespace), content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 403


def test_an_owner_in_another_namespace_ends_the_model_and_not_the_owner(arena: Arena) -> None:
    """The garbage collector looks for an owner in the model's own namespace alone."""
    path = f"/api/v1/namespaces/{arena.victim.namespace}/secrets/mine"
    uid = arena.cluster.admin.get(path).raise_for_status().json()["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "Secret", "name": "mine", "uid": uid, "blockOwnerDeletion": True}
    arena.post(Hostile(MODEL, {"ownerReferences": [owner]}), "owned").raise_for_status()
    eventually(lambda: arena.tenant.get("ImageModel", "owned") is None, what="end of the model", timeout=120)
    assert arena.cluster.admin.get(path).json()["metadata"]["uid"] == uid


def test_a_finalizer_holds_up_nothing_but_the_tenants_own_model(arena: Arena) -> None:
    arena.post(Hostile(MODEL, {"finalizers": ["evil.example.com/never"]}), "undead").raise_for_status()
    arena.tenant.wait_for_children("undead")
    path = f"{KINDS['ImageModel'].format(arena.tenant.namespace)}/undead"
    arena.mallory.delete(path).raise_for_status()
    arena.tenant.kubectl("delete", "service", naming.child_name("undead"))
    arena.post(Hostile(MODEL), "after").raise_for_status()
    arena.tenant.wait_for_children("after")
    assert arena.tenant.child("Service", "undead") is None
    arena.tenant.patch("ImageModel", "undead", {"metadata": {"finalizers": None}})


def test_the_status_is_not_the_tenants_to_write(arena: Arena) -> None:
    arena.post(Hostile(MODEL), "own-status").raise_for_status()
    arena.wait_for_verdict("own-status")
    answer = arena.mallory.patch(
        f"{KINDS['ImageModel'].format(arena.tenant.namespace)}/own-status",
        content='{"status": {"selector": "app=flux", "url": "http://evil"}}',
        headers={"Content-Type": "application/merge-patch+json"},
    )
    status = answer.raise_for_status().json()["status"]
    assert naming.child_name("own-status") in status["selector"]
    assert status["url"].endswith(f".{arena.tenant.namespace}.svc:8080")


@pytest.mark.parametrize("foreign", [{}, naming.child_labels("squatted")], ids=["a stranger", "in our clothes"])
def test_a_service_that_is_there_already_leads_nowhere_else(arena: Arena, foreign: dict[str, str]) -> None:
    """One without our labels is in the way; one with them is taken over, and leads to the model's own pods."""
    name = naming.child_name("squatted")
    victims = f"{naming.child_name('flux')}.{arena.victim.namespace}.svc.cluster.local"
    ports = [{"name": naming.RUNTIME_PORT_NAME, "port": naming.RUNTIME_PORT}]
    spec = {"type": "ExternalName", "externalName": victims, "selector": {"app": "theirs"}, "ports": ports}
    service = {"metadata": {"name": name, "labels": foreign}, "spec": spec}
    arena.mallory.post(KINDS["Service"].format(arena.tenant.namespace), json=service).raise_for_status()
    arena.post(Hostile(MODEL), "squatted").raise_for_status()
    if foreign:

        def own() -> dict[str, Any] | None:
            spec: dict[str, Any] = (arena.tenant.child("Service", "squatted") or {})["spec"]
            return spec if spec["type"] == "ClusterIP" else None

        assert eventually(own, what="own Service")["selector"] == naming.selector_labels("squatted")
    else:
        conflict = arena.tenant.wait_for_condition("squatted", "NameConflict", "NameTaken")
        assert f"Service {name}" in conflict["message"]
    arena.mallory.delete(f"{KINDS['ImageModel'].format(arena.tenant.namespace)}/squatted").raise_for_status()
    arena.tenant.kubectl("delete", "service", name, "--ignore-not-found")


def test_a_fence_with_a_hole_is_mended(arena: Arena) -> None:
    """It is there before the model, in our labels, and lets the pods out."""
    name = naming.child_name("fenced")
    policy = {
        "metadata": {"name": name, "labels": naming.child_labels("fenced")},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}], "ingress": [{}]},
    }
    arena.mallory.post(KINDS["NetworkPolicy"].format(arena.tenant.namespace), json=policy).raise_for_status()
    arena.post(Hostile(MODEL), "fenced").raise_for_status()

    def is_closed() -> bool:
        spec = (arena.tenant.child("NetworkPolicy", "fenced") or {})["spec"]
        return spec["policyTypes"] == ["Ingress", "Egress"] and not spec.get("egress") and "from" in spec["ingress"][0]

    eventually(is_closed, what="closed NetworkPolicy")
    arena.tenant.patch("NetworkPolicy", name, {"spec": {"egress": [{}]}})
    eventually(is_closed, what="NetworkPolicy closed again")


def test_names_with_the_same_hash_do_not_share_children(arena: Arena) -> None:
    """A hash of 32 bits is collided with in seconds: the second has to wait until the first is gone."""
    first, second = colliding_names()
    arena.post(Hostile(MODEL), first).raise_for_status()
    children = arena.tenant.wait_for_children(first)
    arena.post(Hostile({**MODEL, "step": 9}), second).raise_for_status()
    arena.tenant.wait_for_condition(second, "NameConflict", "NameTaken")
    for kind, child in arena.tenant.wait_for_children(first).items():
        assert child["metadata"]["uid"] == children[kind]["metadata"]["uid"]
        assert child["metadata"]["ownerReferences"][0]["name"] == first


def colliding_names() -> tuple[str, str]:
    """Return two names of 40 equal characters and more whose children would be called the same."""
    seen: dict[str, str] = {}
    for number in itertools.count():
        name = f"{'c' * 40}-{number}"
        if (other := seen.setdefault(naming.child_name(name), name)) != name:
            return other, name
    raise AssertionError
