"""The control plane does what Kubernetes does: the rest of the tests build on that."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest

from cluster.addresses import routable_address
from cluster.control_plane import ControlPlane
from cluster.kubectl import KubectlError
from cluster.leash import LeashedProcessError
from cluster.processes import descendants, is_running
from cluster.waiting import eventually


def config_map(name: str, **metadata: object) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}})


def test_everything_runs_and_is_ready(cluster: ControlPlane) -> None:
    assert set(cluster.processes) == {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}
    assert all(process.poll() is None for process in cluster.processes.values())
    assert cluster.admin.get("/readyz").text == "ok"
    version = json.loads(cluster.kubectl("version", "-o", "json").stdout)
    assert version["serverVersion"]["gitVersion"].startswith("v1.")


def test_namespace_is_furnished(cluster: ControlPlane, namespace: str) -> None:
    names = cluster.kubectl("get", "serviceaccounts,configmaps", "-n", namespace, "-o", "name").stdout.split()
    assert names == ["serviceaccount/default", "configmap/kube-root-ca.crt"]


def test_kubectl_reads_stdin_and_raises_with_stderr(cluster: ControlPlane, namespace: str) -> None:
    assert "created" in cluster.kubectl("apply", "-n", namespace, "-f", "-", input=config_map("given")).stdout
    with pytest.raises(KubectlError, match='configmaps "absent" not found'):
        cluster.kubectl("get", "configmap", "absent", "-n", namespace)
    assert cluster.kubectl("get", "configmap", "absent", "-n", namespace, check=False).returncode == 1


def test_service_account_may_do_what_its_roles_grant(cluster: ControlPlane, namespace: str) -> None:
    account = f"{namespace}:default"
    kubeconfig = cluster.service_account_kubeconfig(namespace, "default")
    whoami = json.loads(cluster.kubectl("auth", "whoami", "-o", "json", kubeconfig=kubeconfig).stdout)
    assert whoami["status"]["userInfo"]["username"] == f"system:serviceaccount:{account}"
    with pytest.raises(KubectlError, match=r"Forbidden.*cannot list resource \"configmaps\""):
        cluster.kubectl("get", "configmaps", kubeconfig=kubeconfig)
    binding = ("create", "rolebinding", "viewer", "-n", namespace, "--clusterrole=view")
    cluster.kubectl(*binding, f"--serviceaccount={account}")
    assert cluster.kubectl("get", "configmaps", "-o", "name", kubeconfig=kubeconfig).stdout.split()
    with pytest.raises(KubectlError, match="Forbidden"):
        cluster.kubectl("get", "secrets", kubeconfig=kubeconfig)


def test_token_of_an_account_that_is_not_there(cluster: ControlPlane, namespace: str) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        cluster.service_account_token(namespace, "absent")


def test_client_certificate_names_user_and_groups(cluster: ControlPlane, namespace: str) -> None:
    kubeconfig = cluster.kubeconfig("ada", groups=["analysts"], namespace=namespace)
    binding = ("create", "rolebinding", "analysts", "-n", namespace, "--clusterrole=view", "--group=analysts")
    cluster.kubectl(*binding)
    assert cluster.kubectl("get", "configmaps", "-o", "name", kubeconfig=kubeconfig).stdout.split()
    with pytest.raises(KubectlError, match='User "ada" cannot list'):
        cluster.kubectl("get", "configmaps", "-n", namespace, kubeconfig=cluster.kubeconfig("ada"))


def test_audit_log_holds_writes_and_no_reads(cluster: ControlPlane, namespace: str) -> None:
    account = f"system:serviceaccount:{namespace}:default"
    binding = ("create", "rolebinding", "editor", "-n", namespace, "--clusterrole=edit")
    cluster.kubectl(*binding, f"--serviceaccount={namespace}:default")
    kubeconfig = cluster.service_account_kubeconfig(namespace, "default")
    mark = cluster.audit.mark()
    cluster.kubectl("get", "configmaps,leases,events", kubeconfig=kubeconfig, check=False)
    assert cluster.audit.events(mark, user=account) == []

    cluster.kubectl("apply", "--server-side", "-f", "-", input=config_map("logged"), kubeconfig=kubeconfig)
    cluster.kubectl("delete", "configmap", "logged", kubeconfig=kubeconfig)
    cluster.kubectl("create", "namespace", "refused", kubeconfig=kubeconfig, check=False)
    seen = cluster.audit.events(mark, user=account)
    assert [(event.verb, event.resource, event.namespace, event.name, event.code) for event in seen] == [
        ("patch", "configmaps", namespace, "logged", 201),
        ("delete", "configmaps", namespace, "logged", 200),
        ("create", "namespaces", "", "", 403),
    ]
    assert cluster.audit.events(mark, user=account, user_agent="kubectl/", verbs=["patch"]) == seen[:1]
    assert cluster.audit.events(mark, user=account, user_agent="another/") == []
    assert cluster.audit.events(cluster.audit.mark(), user=account) == []


def test_garbage_collector_removes_what_is_owned(cluster: ControlPlane, namespace: str) -> None:
    url = f"/api/v1/namespaces/{namespace}/configmaps"
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=config_map("owner"))
    owner = cluster.admin.get(f"{url}/owner").raise_for_status().json()
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=config_map("owned", ownerReferences=[reference]))
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=config_map("free"))
    cluster.kubectl("delete", "configmap", "owner", "-n", namespace)
    eventually(lambda: cluster.admin.get(f"{url}/owned").status_code == 404, what="removal of the owned ConfigMap")
    assert cluster.admin.get(f"{url}/free").is_success


def test_deployment_makes_pods_that_wait_for_a_node(cluster: ControlPlane, namespace: str) -> None:
    cluster.kubectl("create", "deployment", "web", "--image=example.invalid/web", "--replicas=2", "-n", namespace)

    def unscheduled() -> bool:
        pods = json.loads(cluster.kubectl("get", "pods", "-n", namespace, "-o", "json").stdout)["items"]
        reasons = [c["reason"] for pod in pods for c in pod["status"].get("conditions", []) if c["status"] == "False"]
        return reasons == ["Unschedulable"] * 2

    eventually(unscheduled, what="two pods that the scheduler has looked at")


def test_endpoint_slice_takes_the_routable_address(cluster: ControlPlane, namespace: str) -> None:
    """Loopback is refused, which is why the helper is there."""
    url = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    body = {"metadata": {"name": "local"}, "addressType": "IPv4", "ports": [{"port": 8000}]}
    refused = cluster.admin.post(url, json=body | {"endpoints": [{"addresses": ["127.0.0.1"]}]})
    assert refused.status_code == 422
    assert "loopback" in refused.json()["message"]
    cluster.admin.post(url, json=body | {"endpoints": [{"addresses": [routable_address()]}]}).raise_for_status()


def test_a_program_that_does_not_start_is_named_with_its_output(binaries: dict[str, Path], tmp_path: Path) -> None:
    control_plane = ControlPlane(folder=tmp_path, binaries={**binaries, "kube-apiserver": binaries["kube-scheduler"]})
    with pytest.raises(LeashedProcessError, match=r"kube-scheduler .* ended with code 1 (?s:.*)unknown flag"):
        control_plane.__enter__()
    assert control_plane.processes["etcd"].poll() is not None, "what did start is ended"


def test_nothing_is_left_of_a_test_run_that_was_killed(binaries: dict[str, Path], tmp_path: Path) -> None:
    """The run gets SIGKILL, so no line of its own ends the control plane."""
    source = textwrap.dedent(
        """
        import json, pathlib, sys, time
        from cluster.control_plane import ControlPlane
        binaries = {name: pathlib.Path(path) for name, path in json.loads(sys.argv[2]).items()}
        with ControlPlane(folder=pathlib.Path(sys.argv[1]), binaries=binaries) as control_plane:
            print(*(leash.pid for leash in control_plane.processes.values()), flush=True)
            time.sleep(600)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", source, tmp_path, json.dumps(binaries, default=str)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        text=True,
    ) as run:
        assert run.stdout
        programs = [int(pid) for pid in run.stdout.readline().split()]
        everything = {*programs, *descendants(run.pid)}
        run.kill()
    assert len(programs) == 4
    assert len(everything) == 8, "each program has its supervisor"
    eventually(lambda: not any(map(is_running, everything)), what="end of every process", timeout=15)
