"""The limits that the chart sets for tenants, enforced by a real API server."""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cluster.control_plane import ControlPlane
from cluster.waiting import eventually

CHART = Path(__file__).resolve().parents[2] / "charts" / "heliograph"
PATH = "/apis/heliograph.dev/v1alpha1/namespaces/{}/imagemodels"
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
LIMITS = {
    "maxReplicas": 3,
    "maxGpus": 1,
    "profiles": ["small", "gpu"],
    "sources": ["hf://good/", "https://models.example.org/", "pvc://weights/", "github:good/"],
    "secrets": ["hub-token"],
    "names": ["team-", "Team/"],
    "minPriority": -5,
    "maxPriority": 5,
}
MODEL = {"parameters": {"model": "good/model"}}
CLAIM = {"cache": {"existingClaim": "weights"}}
PATH_OPTION = {"parameters": {"model": "hf://good/x/y.gguf"}, "backend": "stablediffusion-ggml"}


@dataclass(frozen=True)
class Tenant:
    """A namespace that is held to limits."""

    cluster: ControlPlane
    namespace: str
    policy: str

    def create(self, spec: Mapping[str, Any], *, name: str = "", dry_run: bool = True) -> httpx.Response:
        metadata = {"name": name} if name else {"generateName": "team-"}
        body = {"apiVersion": "heliograph.dev/v1alpha1", "kind": "ImageModel", "metadata": metadata, "spec": spec}
        query = {"dryRun": "All"} if dry_run else {}
        return self.cluster.admin.post(PATH.format(self.namespace), json=body, params=query)

    def merge(self, name: str, patch: Mapping[str, Any], subresource: str = "") -> httpx.Response:
        return self.cluster.admin.patch(
            f"{PATH.format(self.namespace)}/{name}{subresource}",
            content=json.dumps(patch),
            headers={"Content-Type": "application/merge-patch+json"},
        )


@dataclass(frozen=True)
class Refused:
    """A spec that the policy refuses, and a part of what it says."""

    spec: Mapping[str, Any]
    message: str


def serving(**fields: Any) -> dict[str, Any]:
    return {**MODEL, "serving": fields}


REPLICAS = "spec.serving.replicas and spec.serving.scaling must not exceed 3 in this namespace; lower them"
GPUS = "one replica must not have more than 1 GPUs in this namespace"
SOURCES = (
    "weights must come from a source that begins with one of: hf://good/, https://models.example.org/, pvc://weights/"
)
PLACEMENT = "spec.serving.nodeSelector and spec.serving.tolerations are the administrator's in this namespace"
RESOURCES = "spec.serving.resources are the administrator's in this namespace"
PRIORITY = "spec.serving.priority must be from -5 to 5 in this namespace"
NAMES = "metadata.name, spec.name and spec.serving.aliases must each begin with one of: team-, Team/"

ALLOWED = {
    "the least": MODEL,
    "all within": serving(replicas=3, gpus=1, profile="gpu", priority=5, aliases=["team-x"], scaling={"max": 3}),
    "repository with a scheme": {"parameters": {"model": "hf://good/model:Q4_0"}},
    "other spelling of it": {"parameters": {"model": "huggingface://good/model"}},
    "short spelling of it": {"parameters": {"model": "hf.co/good/model"}},
    "url": {"parameters": {"model": "https://models.example.org/a/b.safetensors"}},
    "dots and blanks in a name": {"parameters": {"model": "https://models.example.org/v1.5%20final.safetensors"}},
    "file on GitHub": {"parameters": {"model": "github:good/x/y.safetensors"}},
    "path in a claim": {"parameters": {"model": "bad/model"}, "serving": CLAIM},
    "claim by uri": {"parameters": {"model": "pvc://weights"}},
    "path option": {**PATH_OPTION, "options": ["vae_path:hf://good/vae/x.gguf", "sampler:euler_a", "flag"]},
    "lora by path": {**MODEL, "lora_adapters": ["bad/adapter.safetensors"]},
    "token": serving(hfTokenSecretRef={"name": "hub-token"}),
    "alias": {"alias": "team-other"},
}
REFUSED = {
    "replicas": Refused(serving(replicas=4), REPLICAS),
    "scaling max": Refused(serving(scaling={"max": 4}), REPLICAS),
    "scaling min": Refused(serving(scaling={"min": 4}), REPLICAS),
    "gpus": Refused(serving(gpus=2), GPUS),
    "tensor parallel": Refused({**MODEL, "tensor_parallel_size": 2}, GPUS),
    "profile": Refused(serving(profile="root"), "spec.serving.profile must be one of: small, gpu"),
    "part of a profile's name": Refused(serving(profile="sma"), "spec.serving.profile must be one of: small, gpu"),
    "other owner": Refused({"parameters": {"model": "bad/model"}}, SOURCES),
    "owner that begins alike": Refused({"parameters": {"model": "goodness/model"}}, SOURCES),
    "other scheme": Refused({"parameters": {"model": "oci://good/model"}}, SOURCES),
    "scheme in capitals": Refused({"parameters": {"model": "HTTPS://bad/x"}}, SOURCES),
    "plain http": Refused({"parameters": {"model": "http://models.example.org/x"}}, SOURCES),
    "host that begins alike": Refused({"parameters": {"model": "https://models.example.org.bad/x"}}, SOURCES),
    "user in a url": Refused({"parameters": {"model": "https://models.example.org@bad/x"}}, SOURCES),
    "leading space": Refused({"parameters": {"model": " hf://bad/x"}}, SOURCES),
    "short spelling": Refused({"parameters": {"model": "hf.co/bad/x"}}, SOURCES),
    "short spelling beside a claim": Refused({"parameters": {"model": "hf.co/bad/x"}, "serving": CLAIM}, SOURCES),
    "other spelling": Refused({"parameters": {"model": "huggingface://bad/x"}}, SOURCES),
    "other file on GitHub": Refused({"parameters": {"model": "github:bad/x/y"}}, SOURCES),
    "other claim": Refused(serving(cache={"existingClaim": "private"}), SOURCES),
    "other claim by uri": Refused({"parameters": {"model": "pvc://private/x"}}, SOURCES),
    "control net": Refused({**MODEL, "diffusers": {"control_net": "bad/control"}}, SOURCES),
    "lora": Refused({**MODEL, "lora_adapter": "https://bad/x.safetensors"}, SOURCES),
    "loras": Refused({**MODEL, "lora_adapters": ["x.safetensors", "hf://bad/x/y"]}, SOURCES),
    "path option": Refused({**PATH_OPTION, "options": ["vae_path: hf://bad/x/y.gguf"]}, SOURCES),
    "download": Refused({**MODEL, "download_files": [{"filename": "x", "uri": "bad/x/y.gguf"}]}, SOURCES),
    "way up from an owner": Refused(
        {**MODEL, "download_files": [{"filename": "x", "uri": "github:good/x/y@../../../bad/x/main"}]}, SOURCES
    ),
    "way up in disguise": Refused(
        {**MODEL, "download_files": [{"filename": "x", "uri": "https://models.example.org/%2E./x"}]}, SOURCES
    ),
    "way up by a backslash": Refused(
        {**MODEL, "download_files": [{"filename": "x", "uri": "https://models.example.org/a\\b"}]}, SOURCES
    ),
    "artifact": Refused({"artifacts": [{"source": {"type": "huggingface", "repo": "bad/x"}}]}, SOURCES),
    "secret": Refused(
        serving(hfTokenSecretRef={"name": "database"}), "spec.serving.hfTokenSecretRef.name must be one of: hub-token"
    ),
    "node selector": Refused(serving(nodeSelector={"x": "y"}), PLACEMENT),
    "no node selector at all": Refused(serving(nodeSelector={}), PLACEMENT),
    "tolerations": Refused(serving(tolerations=[{"operator": "Exists"}]), PLACEMENT),
    "resources": Refused(serving(resources={"limits": {"cpu": "64"}}), RESOURCES),
    "gpus by hand": Refused(serving(resources={"limits": {"example.com/gpu": "8"}}), GPUS),
    "pinned": Refused({**MODEL, "pinned": True}, "pinned is for the administrator in this namespace"),
    "priority": Refused(serving(priority=6), PRIORITY),
    "negative priority": Refused(serving(priority=-6), PRIORITY),
    "public id": Refused({**MODEL, "name": "gpt-image-1"}, NAMES),
    "route to a host": Refused(serving(aliases=["team-x", "images.example.org"]), NAMES),
}


@pytest.fixture(scope="module")
def tenant(
    imagemodels: ControlPlane, helm: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tenant]:
    """A namespace under LIMITS, once the API server enforces them."""
    cluster, name = imagemodels, f"tenant-{uuid.uuid4().hex[:8]}"
    for namespace in (name, f"{name}-admin"):
        cluster.admin.post("/api/v1/namespaces", json={"metadata": {"name": namespace}}).raise_for_status()
    values = tmp_path_factory.mktemp("tenants") / "values.yaml"
    values.write_text(yaml.safe_dump({"tenants": {"a": {"namespaces": [name], **LIMITS}}}))
    place = (name, CHART, "--namespace", f"{name}-admin", "--values", values)
    manifest = helm("template", *place, "--show-only", "templates/tenants.yaml")
    found = Tenant(cluster, name, f"{name}-tenants")
    found.create(serving(priority=9), name="before", dry_run=False).raise_for_status()
    cluster.kubectl("apply", "--filename", "-", input=manifest)
    eventually(lambda: found.create(serving(priority=6)).status_code == 422, what="enforced limits")
    yield found
    cluster.kubectl("delete", "--wait=false", "--filename", "-", input=manifest)
    for namespace in (name, f"{name}-admin"):
        cluster.admin.delete(f"/api/v1/namespaces/{namespace}").raise_for_status()


def test_the_api_server_finds_no_fault_in_the_policies(tenant: Tenant) -> None:
    for name in (tenant.policy, f"{tenant.policy}-scale"):

        def checked(name: str = name) -> dict[str, Any] | None:
            status: dict[str, Any] = tenant.cluster.admin.get(f"{POLICIES}/{name}").json().get("status", {})
            return status if "typeChecking" in status else None

        assert eventually(checked, what=f"checked types of {name}")["typeChecking"] == {}


@pytest.mark.parametrize("spec", ALLOWED.values(), ids=ALLOWED)
def test_what_is_within_the_limits_is_taken(tenant: Tenant, spec: Mapping[str, Any]) -> None:
    answer = tenant.create(spec)
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_is_beyond_them_is_refused_with_the_reason(tenant: Tenant, case: Refused) -> None:
    answer = tenant.create(case.spec)
    assert answer.status_code == 422
    assert f"denied request: {case.message}" in answer.json()["message"]


def test_a_name_of_its_own_is_required(tenant: Tenant) -> None:
    assert NAMES in tenant.create(MODEL, name="gpt-image-1").json()["message"]


def test_scaling_is_held_to_them_too(tenant: Tenant) -> None:
    tenant.create(MODEL, name="team-scaled", dry_run=False).raise_for_status()
    assert tenant.merge("team-scaled", {"spec": {"replicas": 3}}, "/scale").is_success
    answer = tenant.merge("team-scaled", {"spec": {"replicas": 4}}, "/scale")
    assert "spec.replicas must not exceed 3 in this namespace; lower it" in answer.json()["message"]
    assert tenant.merge("team-scaled", {"spec": {"serving": {"replicas": 4}}}).status_code == 422


def test_names_are_not_added_later(tenant: Tenant) -> None:
    """An old ImageModel that took a new name would be the oldest that claims it."""
    spec = {**MODEL, "name": "Team/One", "serving": {"aliases": ["team-a", "team-b"]}}
    tenant.create(spec, name="team-named", dry_run=False).raise_for_status()
    for patch in ({"name": "Team/Two"}, {"serving": {"aliases": ["team-a", "team-c"]}}):
        answer = tenant.merge("team-named", {"spec": patch})
        assert "spec.name and spec.serving.aliases can only lose names" in answer.json()["message"]
    assert tenant.merge("team-named", {"spec": {"name": None, "serving": {"aliases": ["team-b"]}}}).is_success
    assert tenant.merge("team-named", {"spec": {"step": 5}}).is_success


def test_what_was_there_before_can_be_labelled_and_deleted_and_no_more(tenant: Tenant) -> None:
    assert tenant.merge("before", {"spec": {"step": 5}}).status_code == 422
    metadata = {"labels": {"a": "b"}, "finalizers": ["example.com/held"]}
    assert tenant.merge("before", {"metadata": metadata}).is_success
    tenant.cluster.admin.delete(f"{PATH.format(tenant.namespace)}/before").raise_for_status()
    assert tenant.merge("before", {"spec": {"name": "gpt-image-1"}}).status_code == 422
    assert tenant.merge("before", {"metadata": {"finalizers": None}}).is_success
    assert tenant.cluster.admin.get(f"{PATH.format(tenant.namespace)}/before").status_code == 404


def test_other_namespaces_are_not_held_to_them(tenant: Tenant, namespace: str) -> None:
    answer = Tenant(tenant.cluster, namespace, "").create(serving(replicas=9, nodeSelector={"x": "y"}, priority=9))
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ({"maxReplicas": 1}, "tenants.a.namespaces is required"),
        ({"namespaces": ["x"], "maxReplica": 1}, "tenants.a.maxReplica is no limit; see values.yaml"),
        ({"namespaces": ["x"], "maxReplicas": "many"}, "tenants.a.maxReplicas: many is no whole number"),
        ({"namespaces": ["x"], "allowPinned": "yes"}, "tenants.a.allowPinned: yes is neither true nor false"),
        ({"namespaces": ["x"], "profiles": "small"}, "tenants.a.profiles: small is no list"),
        (
            {"namespaces": ["x"], "sources": ["https://host"]},
            "tenants.a.sources: https://host would let other hosts pass",
        ),
    ],
)
def test_limits_that_cannot_work_are_refused(
    helm: Callable[..., str], tmp_path: Path, limits: dict[str, Any], problem: str
) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"tenants": {"a": limits}}))
    with pytest.raises(AssertionError, match=problem):
        helm("template", "x", CHART, "--values", values)
