"""The operator outlasts an API server that fails in the ways in which one does, and makes good what it missed."""

import contextlib
import signal
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from cluster.control_plane import ControlPlane
from cluster.fault_proxy import Fault, FaultProxy, expired, lagging, refusing
from cluster.waiting import eventually
from operator_faults import kubeconfig_by, upset, wait_until_converged
from operator_rig import ACCOUNT, RunningOperator, Served, make_namespace, running_operator

FAULT_SECONDS = 3.0
BUSY = {"Retry-After": "1"}
FAULTS = {
    "429": refusing(429, "Too many requests, please try again later.", headers=BUSY),
    "every third 429": refusing(429, "Too many requests, please try again later.", one_in=3, headers=BUSY),
    "500": refusing(500, "etcdserver: request timed out"),
    "every third 500": refusing(500, "etcdserver: leader changed", one_in=3),
    "403": refusing(403, "no roles are known yet"),
    "slow": lagging(1.0),
    "410": expired(by_event=True),
}


@dataclass(frozen=True)
class Behind:
    """A namespace, and an operator that reaches the API server by a proxy."""

    served: Served
    proxy: FaultProxy
    operator: RunningOperator

    def wait_until_converged(self) -> None:
        wait_until_converged(self.served)
        assert self.operator.process.poll() is None, self.operator.process.tail()


@contextlib.contextmanager
def behind_proxy(cluster: ControlPlane, folder: Path, *options: str) -> Iterator[Behind]:
    served = make_namespace(cluster)
    certificate, key = cluster.serving_certificate
    with FaultProxy(upstream=cluster.url, ca=cluster.ca_certificate, certificate=certificate, key=key) as proxy:
        kubeconfig = kubeconfig_by(proxy, served, folder)
        options = ("--namespaces", served.namespace, "--request-timeout", "2", *options)
        with running_operator(folder, kubeconfig, *options) as operator:
            operator.wait_until_ready()
            upset(served)
            wait_until_converged(served)
            yield Behind(served, proxy, operator)


@pytest.fixture(scope="module")
def behind(own_cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """One that does not list again while the tests run: what it missed came by events."""
    with behind_proxy(own_cluster, tmp_path_factory.mktemp("operator"), "--resync-seconds", "86400") as behind:
        yield behind


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_what_is_changed_while_requests_fail_is_made_good(fault: Fault, behind: Behind) -> None:
    struck = behind.proxy.struck
    with behind.proxy.failing(fault):
        # The watches begin anew, and meet with the fault like everything else.
        behind.proxy.cut()
        upset(behind.served)
        time.sleep(FAULT_SECONDS)
    assert behind.proxy.struck > struck
    behind.wait_until_converged()


def test_an_api_server_that_is_killed(behind: Behind) -> None:
    upset(behind.served)
    with behind.served.cluster.without("kube-apiserver"):
        time.sleep(FAULT_SECONDS)
    upset(behind.served)
    behind.wait_until_converged()


def test_etcd_that_does_not_answer(behind: Behind) -> None:
    """The API server holds every request, longer than the operator has patience."""
    etcd = behind.served.cluster.processes["etcd"]
    upset(behind.served)
    etcd.send_signal(signal.SIGSTOP)
    try:
        time.sleep(2 * FAULT_SECONDS)
    finally:
        etcd.send_signal(signal.SIGCONT)
    upset(behind.served)
    behind.wait_until_converged()


def test_a_network_that_swallows_everything(own_cluster: ControlPlane, tmp_path: Path) -> None:
    """Watches that are dead without a sign are found out by a minute without bookmarks; listing is sooner."""
    with behind_proxy(own_cluster, tmp_path, "--resync-seconds", "5") as behind:
        with behind.proxy.black_hole():
            upset(behind.served)
            time.sleep(FAULT_SECONDS)
        behind.wait_until_converged()


def test_a_watch_that_cannot_go_on_ends_the_process_for_a_new_one(own_cluster: ControlPlane, tmp_path: Path) -> None:
    """kopf gives up on an HTTP status that it does not expect; the kubelet starts the container again."""
    with behind_proxy(own_cluster, tmp_path) as behind:
        with behind.proxy.failing(expired(by_event=False)):
            behind.proxy.cut()
            assert behind.operator.process.wait() == 1
        assert "the process ends to start anew" in behind.operator.process.log.read_text()
        upset(behind.served)
        options = ("--namespaces", behind.served.namespace)
        with running_operator(tmp_path, behind.served.kubeconfig, *options):
            wait_until_converged(behind.served)


def test_credentials_that_are_replaced(behind: Behind) -> None:
    """The old token is refused from one moment to the next, and the kubeconfig has a new one."""
    served, stale = behind.served, behind.served.cluster.service_account_token(behind.served.namespace, ACCOUNT)
    served.kubectl("delete", "serviceaccount", ACCOUNT)
    served.kubectl("create", "serviceaccount", ACCOUNT)
    kubeconfig_by(behind.proxy, served, behind.operator.kubeconfig.parent).replace(behind.operator.kubeconfig)
    eventually(lambda: is_refused(served.cluster, stale), what="end of the old token")
    upset(served)
    behind.wait_until_converged()
    behind.proxy.cut()
    upset(served)
    behind.wait_until_converged()


def is_refused(cluster: ControlPlane, token: str) -> bool:
    """Return whether the API server, which remembers a token for some seconds, does not take it any more."""
    trust = ssl.create_default_context(cafile=cluster.ca_certificate)
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{cluster.url}/api", headers=headers, verify=trust, trust_env=False).status_code == 401
