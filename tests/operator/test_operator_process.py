"""The operator's process: from start to end, over restarts, beside others, and where something is missing."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster.control_plane import ControlPlane
from cluster.definitions import define_imagemodels
from cluster.waiting import eventually
from heliograph_api import naming
from operator_rig import CHILDREN, Served, make_namespace, running_operator

MODELS: dict[str, dict[str, Any]] = {
    "plain": {"parameters": {"model": "tiny/model.safetensors"}},
    "served": {
        "parameters": {"model": "x.gguf"},
        "cuda": True,
        "concurrency_groups": ["one"],
        "serving": {
            "replicas": 2,
            # The API server writes both quantities in another way than the manifest does.
            "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"cpu": "2000m"}},
            "nodeSelector": {"disk": "nvme"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "cache": {"existingClaim": "weights", "subPath": "x"},
        },
    },
    "ggml": {"parameters": {"model": "flux1.gguf"}, "options": ["clip_l_path:clip_l.safetensors"]},
    "off": {"parameters": {"model": "x.gguf"}, "disabled": True},
    "alias": {"alias": "plain"},
    "nowhere": {"alias": "absent"},
    "invalid": {"parameters": {"model": "x.gguf"}, "serving": {"profile": "unheard-of"}},
    "warned": {"parameters": {"model": "x.gguf"}, "stepp": 3, "serving": {"cache": {"existingClaim": "weights"}}},
}
RECONCILED = 'heliograph_operator_reconcile_seconds_count{outcome="done"}'
GPU_PROFILE = '{"gpuResource": "nvidia.com/gpu"}'


def has_status(served: Served, name: str) -> bool:
    return "Ready" in served.conditions(name)


def test_a_restart_with_nothing_changed_writes_nothing(unserved: Served, tmp_path: Path) -> None:
    """Nor does an operator at rest, however often it lists."""
    options = ("--namespaces", unserved.namespace, "--resync-seconds", "1", "--gpu-profile", GPU_PROFILE)
    with running_operator(tmp_path, unserved.kubeconfig, *options) as operator:
        operator.wait_until_ready()
        for name, spec in MODELS.items():
            unserved.apply(name, spec)
        for name in MODELS:
            eventually(lambda name=name: has_status(unserved, name), what=f"status of {name}")  # type: ignore[misc]
        for name in ("plain", "served", "ggml", "warned"):
            unserved.wait_until_settled(name)
        before = {kind: unserved.items(kind) for kind in (*CHILDREN, "ImageModel")}
        assert operator.process.stop() == 0
    mark = unserved.cluster.audit.mark()
    with running_operator(tmp_path, unserved.kubeconfig, *options) as operator:
        operator.wait_until_ready()
        eventually(lambda: operator.metric(RECONCILED) >= 4 * len(MODELS), what="four rounds over every model")
        assert httpx.get(f"{operator.url}/healthz", trust_env=False).is_success
        assert operator.metric('heliograph_operator_models{ready="False"}') == len(MODELS) - 1
        assert operator.metric('heliograph_operator_models{ready="True"}') == 1
        assert operator.process.stop() == 0
    assert unserved.cluster.audit.events(mark, user=unserved.user) == []
    assert {kind: unserved.items(kind) for kind in (*CHILDREN, "ImageModel")} == before


def test_what_changed_while_the_operator_was_away_is_made_good(unserved: Served, tmp_path: Path) -> None:
    options = ("--namespaces", unserved.namespace)
    with running_operator(tmp_path, unserved.kubeconfig, *options):
        unserved.apply("kept", MODELS["plain"])
        unserved.wait_for_children("kept")
    unserved.kubectl("delete", "service", naming.child_name("kept"))
    unserved.kubectl("scale", "im/kept", "--replicas=3")
    unserved.apply("new", MODELS["ggml"])
    with running_operator(tmp_path, unserved.kubeconfig, *options):
        unserved.wait_for_children("new")
        assert unserved.wait_until_settled("kept")["status"]["replicas"] == 3
        unserved.wait_for_children("kept")


def test_sigterm_ends_it_cleanly_before_it_is_ready(unserved: Served, tmp_path: Path) -> None:
    """It has no rights in the namespace it is told to serve: it says so and waits for them."""
    elsewhere = ("--namespaces", "default")
    with running_operator(tmp_path, unserved.kubeconfig, *elsewhere) as operator:
        operator.process.wait_until(lambda: "cannot list resource" in operator.process.tail(), what="complaint")
        assert 'is forbidden: User "system:serviceaccount' in operator.process.tail()
        assert not operator.is_ready()
        assert httpx.get(f"{operator.url}/healthz", trust_env=False).is_success
        operator.process.send_signal(signal.SIGTERM)
        assert operator.process.wait(timeout=15) == 0


def test_without_credentials_it_says_what_is_missing(tmp_path: Path) -> None:
    with running_operator(tmp_path, tmp_path / "absent") as operator:
        assert operator.process.wait() == 1
        last = operator.process.tail().splitlines()[-1]
        assert "KUBECONFIG" in last
        assert "ServiceAccount" in last


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with running_operator(tmp_path, tmp_path / "absent", "--health-port", str(port)) as operator:
            assert operator.process.wait() == 1
            assert f"cannot listen on 127.0.0.1:{port}: " in operator.process.tail().splitlines()[-1]


def test_of_two_with_a_lease_one_works_and_the_other_takes_over(unserved: Served, tmp_path: Path) -> None:
    namespace = unserved.namespace
    options = ("--namespaces", namespace, "--lease", "--lease-namespace", namespace, "--lease-seconds", "3")
    with running_operator(tmp_path, unserved.kubeconfig, *options) as leader:
        unserved.apply("first", MODELS["plain"])
        unserved.wait_for_children("first")
        with running_operator(tmp_path, unserved.kubeconfig, *options) as follower:
            follower.wait_until_ready()
            unserved.apply("second", MODELS["plain"])
            unserved.wait_until_settled("second")
            assert follower.metric(RECONCILED) == 0
            leader.process.send_signal(signal.SIGKILL)
            unserved.apply("third", MODELS["plain"])
            unserved.wait_until_settled("third")
            assert follower.metric(RECONCILED) > 0


def test_a_leader_that_loses_the_lease_ends(unserved: Served, tmp_path: Path) -> None:
    namespace = unserved.namespace
    options = ("--namespaces", namespace, "--lease", "--lease-namespace", namespace, "--lease-seconds", "2")
    with running_operator(tmp_path, unserved.kubeconfig, *options) as leader:
        unserved.apply("first", MODELS["plain"])
        unserved.wait_for_children("first")
        usurp = '{"spec": {"holderIdentity": "usurper", "leaseDurationSeconds": 3600}}'
        unserved.kubectl("patch", "lease", "heliograph-operator", "--type=merge", "-p", usurp)
        assert leader.process.wait() == 1
        assert "could not be renewed" in leader.process.tail()


@pytest.fixture(scope="module")
def bare_cluster(binaries: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane without the CustomResourceDefinition."""
    with ControlPlane(folder=tmp_path_factory.mktemp("bare"), binaries=binaries) as control_plane:
        yield control_plane


def test_cluster_wide_from_before_the_definition_is_there(bare_cluster: ControlPlane, tmp_path: Path) -> None:
    namespaces = [make_namespace(bare_cluster) for _ in range(2)]
    with running_operator(tmp_path, bare_cluster.kubeconfig()) as operator:
        complaint = "does not know imagemodels.heliograph.dev; install the CustomResourceDefinition"
        operator.process.wait_until(lambda: complaint in operator.process.tail(), what="complaint")
        assert not operator.is_ready()
        define_imagemodels(bare_cluster)
        operator.wait_until_ready()
        for served in namespaces:
            served.apply("tiny", MODELS["plain"])
        for served in namespaces:
            served.wait_for_children("tiny")
            served.kubectl("delete", "deployment", naming.child_name("tiny"))
            served.wait_for_children("tiny")
            served.wait_until_settled("tiny")
        first, second = namespaces
        second.apply("abroad", {"alias": f"{first.namespace}/tiny"})
        second.wait_for_condition("abroad", "Ready", "TargetFound")
        first.kubectl("delete", "im/tiny")
        second.wait_for_condition("abroad", "Ready", "TargetMissing")
