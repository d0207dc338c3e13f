"""The operator as a process of its own against a real control plane, with no more rights than it needs."""

import contextlib
import json
import shutil
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cluster.addresses import free_port
from cluster.control_plane import ControlPlane
from cluster.leash import Leash, start_leashed
from cluster.waiting import eventually, is_answered
from heliograph_api import naming

ACCOUNT = "heliograph-operator"
ALL = ["get", "list", "watch", "create", "patch", "delete"]
RULES = [
    {"apiGroups": ["heliograph.dev"], "resources": ["imagemodels"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["heliograph.dev"], "resources": ["imagemodels/status"], "verbs": ["patch"]},
    {"apiGroups": ["heliograph.dev"], "resources": ["imagemodels/scale"], "verbs": ["update"]},
    {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list", "watch"]},
    {"apiGroups": [""], "resources": ["configmaps", "services", "serviceaccounts"], "verbs": ALL},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
    {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "list"]},
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ALL},
    {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ALL},
    {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ALL},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ALL},
    {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": ALL},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
]
"""The operator's rights, as the documentation lists them."""
KINDS = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "Service": "/api/v1/namespaces/{}/services",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "ImageModel": "/apis/heliograph.dev/v1alpha1/namespaces/{}/imagemodels",
    "Pod": "/api/v1/namespaces/{}/pods",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "Event": "/api/v1/namespaces/{}/events",
}
MODEL = {"parameters": {"model": "tiny/model.safetensors"}}
CHILDREN = ("ServiceAccount", "ConfigMap", "NetworkPolicy", "Service", "PodDisruptionBudget", "Deployment")


@dataclass(frozen=True)
class Served:
    """A namespace whose ImageModels an operator serves, and what the tests do in it."""

    cluster: ControlPlane
    namespace: str

    @property
    def user(self) -> str:
        """The name under which the operator is in the audit log."""
        return f"system:serviceaccount:{self.namespace}:{ACCOUNT}"

    @property
    def kubeconfig(self) -> Path:
        """Credentials of the operator."""
        return self.cluster.service_account_kubeconfig(self.namespace, ACCOUNT)

    def kubectl(self, *arguments: str, **options: Any) -> str:
        return self.cluster.kubectl("--namespace", self.namespace, *arguments, **options).stdout

    def apply(self, name: str, spec: dict[str, Any], *, kind: str = "ImageModel") -> None:
        """Apply an ImageModel as a user does, by kubectl."""
        api_version = naming.API_VERSION if kind == "ImageModel" else "v1"
        manifest = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}
        self.kubectl("apply", "-f", "-", input=json.dumps(manifest))

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return an object, or None; a child bears the name `naming.child_name` of its ImageModel's."""
        answer = self.cluster.admin.get(f"{KINDS[kind].format(self.namespace)}/{name}")
        if answer.status_code == 404:
            return None
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def items(self, kind: str, **labels: str) -> list[dict[str, Any]]:
        selector = {"labelSelector": ",".join(f"{key}={value}" for key, value in labels.items())} if labels else {}
        answer = self.cluster.admin.get(KINDS[kind].format(self.namespace), params=selector)
        found: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
        return found

    def child(self, kind: str, name: str) -> dict[str, Any] | None:
        return self.get(kind, naming.child_name(name))

    def patch(self, kind: str, name: str, patch: Any, *, json_patch: bool = False) -> None:
        """Change an object as another client does, by a merge patch or a JSON patch."""
        media_type = "application/json-patch+json" if json_patch else "application/merge-patch+json"
        self.cluster.admin.patch(
            f"{KINDS[kind].format(self.namespace)}/{name}",
            params={"fieldManager": "somebody-else"},
            headers={"Content-Type": media_type},
            content=json.dumps(patch),
        ).raise_for_status()

    def conditions(self, name: str) -> dict[str, dict[str, Any]]:
        """Return the conditions of an ImageModel by type."""
        model = self.get("ImageModel", name)
        return {item["type"]: item for item in ((model or {}).get("status") or {}).get("conditions") or ()}

    def wait_for_children(self, name: str) -> dict[str, dict[str, Any]]:
        """Wait for every child of an ImageModel, and return them by kind."""

        def children() -> dict[str, dict[str, Any]] | None:
            found = {kind: child for kind in CHILDREN if (child := self.child(kind, name)) is not None}
            return found if len(found) == len(CHILDREN) else None

        return eventually(children, what=f"children of {name}")

    def wait_for_condition(self, name: str, kind: str, reason: str) -> dict[str, Any]:
        """Wait until a condition of an ImageModel has a reason, and return the condition."""
        return eventually(
            lambda: condition if (condition := self.conditions(name).get(kind, {})).get("reason") == reason else None,
            what=f"condition {kind} of {name} with reason {reason}",
        )

    def is_observed(self, name: str) -> bool:
        """Return whether the status of an ImageModel speaks of its present spec."""
        model = self.get("ImageModel", name) or {}
        return bool(model["status"]["observedGeneration"] == model["metadata"]["generation"])

    def wait_until_settled(self, name: str) -> dict[str, Any]:
        """Wait until the status speaks of the present spec and of the Deployment as it is, and return the ImageModel.

        There are no nodes: pods are made, and stay Pending.
        """

        def settled() -> dict[str, Any] | None:
            model, deployment = self.get("ImageModel", name), self.child("Deployment", name)
            if model is None or deployment is None:
                return None
            status, seen = model.get("status", {}), deployment.get("status", {})
            wanted = deployment["spec"]["replicas"]
            is_settled = (
                status.get("observedGeneration") == model["metadata"]["generation"]
                and wanted == model["spec"]["serving"]["replicas"]
                and seen.get("observedGeneration") == deployment["metadata"]["generation"]
                and seen.get("updatedReplicas", 0) == seen.get("replicas", 0) == wanted == status.get("replicas")
            )
            return model if is_settled else None

        return eventually(settled, what=f"settled status of {name}")


@dataclass(frozen=True)
class RunningOperator:
    """An operator's process."""

    process: Leash
    url: str
    """Where it serves its health and its metrics."""
    kubeconfig: Path
    """Its credentials, in a file of its own."""

    def is_ready(self) -> bool:
        """Return whether it says that it is ready."""
        return is_answered(f"{self.url}/readyz")

    def wait_until_ready(self) -> None:
        self.process.wait_until(self.is_ready, what="readiness of the operator")

    def metric(self, sample: str) -> float:
        """Return the value of a metric's sample, labels included in its name; 0 where there is none."""
        lines = httpx.get(f"{self.url}/metrics", trust_env=False).raise_for_status().text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == sample), 0.0)


@contextlib.contextmanager
def running_operator(
    folder: Path, kubeconfig: Path, *options: str, program: Sequence[str] = ("-m", "heliograph")
) -> Iterator[RunningOperator]:
    """Run `heliograph operator`, by `program`, with a kubeconfig and options; it need not be ready on return."""
    port = free_port()
    command = [sys.executable, *program, "operator", "--health-host", "127.0.0.1"]
    # A copy: the rig writes a file anew whenever it is asked for it.
    own = folder / f"operator-{port}.kubeconfig"
    if kubeconfig.exists():
        shutil.copy(kubeconfig, own)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "KUBECONFIG": str(own)}
    with start_leashed(
        [*command, "--health-port", str(port), *options],
        log=folder / f"operator-{port}.log",
        env=environment,
        cwd=folder,
        grace=15,
    ) as process:
        yield RunningOperator(process, f"http://127.0.0.1:{port}", own)


def make_namespace(cluster: ControlPlane) -> Served:
    """Make a namespace that takes restricted pods only, with an account that has the operator's rights in it."""
    name = f"operator-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.admin.post("/api/v1/namespaces", json={"metadata": {"name": name, "labels": labels}}).raise_for_status()
    cluster.wait_for_namespace(name)
    group = "rbac.authorization.k8s.io"
    account = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": name}
    items = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": ACCOUNT}, "rules": RULES},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": ACCOUNT},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": ACCOUNT},
            "subjects": [account],
        },
    ]
    objects = json.dumps({"kind": "List", "apiVersion": "v1", "items": items})
    cluster.kubectl("apply", "-n", name, "-f", "-", input=objects)
    return Served(cluster=cluster, namespace=name)
