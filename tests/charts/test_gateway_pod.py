"""What the gateway's pod has of its surroundings: authorities, the role of its account, and a share of a quota."""

import json
from typing import Any

from charts.test_applying import by_server_side_apply, found
from charts.variants import VARIANTS, Render, only
from cluster.control_plane import ControlPlane
from cluster.waiting import eventually

QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "all"},
    "spec": {"hard": {"limits.cpu": "4", "limits.memory": "8Gi"}},
}
LIMITED = ("--set-string", "operator.resources.limits.cpu=1,gateway.resources.limits.cpu=1")


def gateway(render: Render, variant: str) -> dict[str, Any]:
    deployment = only(render("heliograph", *VARIANTS[variant]), "Deployment", "heliograph-gateway")
    pod: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return pod


def test_authorities_are_one_file_whatever_their_field_is_called(render: Render) -> None:
    pod = gateway(render, "cloud")
    (volume,) = (volume for volume in pod["volumes"] if volume["name"] == "ca")
    assert volume["configMap"] == {
        "name": "authorities",
        "optional": False,
        "items": [{"key": "trust-bundle.pem", "path": "ca.crt"}],
    }
    (mount,) = (mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "ca")
    assert mount == {"name": "ca", "mountPath": "/etc/heliograph/ca", "readOnly": True}
    assert "ca" not in {volume["name"] for volume in gateway(render, "default")["volumes"]}


def test_the_account_has_the_annotations_that_lend_it_a_role(render: Render) -> None:
    objects = render("heliograph", *VARIANTS["cloud"])
    account = only(objects, "ServiceAccount", "heliograph-gateway")
    assert account["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/images"}
    assert "annotations" not in only(objects, "ServiceAccount", "heliograph-operator")["metadata"]
    assert "annotations" not in only(render("heliograph"), "ServiceAccount", "heliograph-gateway")["metadata"]


def test_every_pod_fits_a_quota_that_wants_limits(cluster: ControlPlane, namespace: str, render: Render) -> None:
    cluster.kubectl("apply", "--namespace", namespace, "--filename", "-", input=json.dumps(QUOTA))
    by_server_side_apply(cluster, namespace, render)(*LIMITED)

    def started() -> bool:
        pods = found(cluster, namespace, "pods")["items"]
        parts = {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods}
        return parts == {"operator", "gateway", "first-key"}

    eventually(started, what="a pod of each part", timeout=60)
    (test,) = (item for item in render("heliograph", *LIMITED, namespace=namespace) if item["kind"] == "Pod")
    cluster.kubectl("apply", "--dry-run=server", "--filename", "-", input=json.dumps(test))
