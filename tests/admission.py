"""What the API server refuses for a while: by a policy, or for want of a webhook."""

from collections.abc import Iterator
from contextlib import contextmanager

from cluster.addresses import free_port
from cluster.waiting import eventually
from operator_rig import KINDS, Served


@contextmanager
def unchanged_claims(served: Served, *, probe: str, operation: str = "UPDATE") -> Iterator[None]:
    """Have the API server refuse every change of a claim, or every deletion (DELETE), inside the block.

    Args:
        served: The namespace.
        probe: A claim that is there.
        operation: What is refused.
    """
    admin, name = served.cluster.admin, served.namespace
    group = "/apis/admissionregistration.k8s.io/v1"
    operations = {"operations": [operation], "resources": ["persistentvolumeclaims"]}
    policy = {
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], **operations}]},
        "validations": [{"expression": "false", "message": "claims stay as they are"}],
    }
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
    binding = {"policyName": name, "validationActions": ["Deny"], "matchResources": here}
    specs = {"validatingadmissionpolicies": policy, "validatingadmissionpolicybindings": binding}
    for resource, spec in specs.items():
        admin.post(f"{group}/{resource}", json={"metadata": {"name": name}, "spec": spec}).raise_for_status()
    path, dry_run = f"{KINDS['PersistentVolumeClaim'].format(name)}/{probe}", {"dryRun": "All"}
    media_type = {"Content-Type": "application/merge-patch+json"}
    change = {"metadata": {"annotations": {"probe": "1"}}}

    def is_refused() -> bool:
        if operation == "DELETE":
            return admin.delete(path, params=dry_run).is_error
        return admin.patch(path, params=dry_run, headers=media_type, json=change).is_error

    eventually(is_refused, what="its refusal")
    yield
    for resource in specs:
        admin.delete(f"{group}/{resource}/{name}").raise_for_status()


@contextmanager
def dead_webhook(served: Served) -> Iterator[None]:
    """Have every Deployment of a namespace need the word of a webhook that does not answer, inside the block."""
    admin, name = served.cluster.admin, served.namespace
    group = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["deployments"]}
    webhook = {
        "name": "guard.example.org",
        "clientConfig": {"url": f"https://127.0.0.1:{free_port()}/"},
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
    }
    admin.post(group, json={"metadata": {"name": name}, "webhooks": [webhook]}).raise_for_status()
    labels = {"app": "probe"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "probe", "image": "none"}]}}
    probe = {"metadata": {"name": "probe"}, "spec": {"selector": {"matchLabels": labels}, "template": template}}
    path = KINDS["Deployment"].format(name)
    eventually(lambda: admin.post(path, params={"dryRun": "All"}, json=probe).is_error, what="its refusal")
    yield
    admin.delete(f"{group}/{name}").raise_for_status()
