"""Operators that are killed, stand still, or have a wrong clock: what they leave is brought in line by the next one."""

import random
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cluster.control_plane import ControlPlane
from cluster.waiting import eventually
from operator_faults import apply_models, delete, upset, wait_until_converged
from operator_rig import Served, make_namespace, running_operator

MODELS = [f"model-{number}" for number in range(24)]
KILLS = 5
DAY_SECONDS = 86_400
SKEWED = str(Path(__file__).with_name("skewed_operator.py"))


@pytest.fixture
def own(own_cluster: ControlPlane) -> Served:
    return make_namespace(own_cluster)


def lease(served: Served) -> dict[str, Any]:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{served.namespace}/leases/heliograph-operator"
    spec: dict[str, Any] = served.cluster.admin.get(path).raise_for_status().json()["spec"]
    return spec


def test_killed_in_the_middle_of_its_work_again_and_again(own: Served, tmp_path: Path) -> None:
    """Each is killed when it has come to a part of the models, which is another one each time."""
    options = ("--namespaces", own.namespace)
    parts = random.Random(6)
    for number in range(KILLS):
        apply_models(own, *MODELS)
        for name in MODELS[number:]:
            own.patch("ImageModel", name, {"spec": {"step": number + 1}})
        delete(own, "ImageModel", MODELS[number])
        before = written(own)
        part = parts.randrange(1, len(MODELS) - KILLS)
        with running_operator(tmp_path, own.kubeconfig, *options) as operator:
            operator.process.wait_until(lambda: len(written(own) - before) >= part, what=f"writes for {part} models")  # noqa: B023
            operator.process.send_signal(signal.SIGKILL)
            assert operator.process.wait() == -signal.SIGKILL
    with running_operator(tmp_path, own.kubeconfig, *options):
        wait_until_converged(own)


def written(served: Served) -> set[str]:
    """Return what tells the ConfigMaps of a moment from those of another."""
    return {item["metadata"]["resourceVersion"] for item in served.items("ConfigMap")}


def test_a_leader_that_stands_still_is_replaced_and_ends_when_it_goes_on(own: Served, tmp_path: Path) -> None:
    options = ("--namespaces", own.namespace, "--lease", "--lease-namespace", own.namespace, "--lease-seconds", "3")
    with running_operator(tmp_path, own.kubeconfig, *options) as leader:
        upset(own)
        wait_until_converged(own)
        with running_operator(tmp_path, own.kubeconfig, *options) as follower:
            follower.wait_until_ready()
            first = lease(own)["holderIdentity"]
            leader.process.send_signal(signal.SIGSTOP)
            upset(own)
            wait_until_converged(own)
            assert lease(own)["holderIdentity"] != first
            leader.process.send_signal(signal.SIGCONT)
            assert leader.process.wait() == 1
            assert "could not be renewed in time" in leader.process.log.read_text()
            upset(own)
            wait_until_converged(own)
            assert follower.process.poll() is None, follower.process.tail()


def test_wrong_clocks_neither_take_a_lease_nor_change_a_status(own: Served, tmp_path: Path) -> None:
    """The leader's clock is a day late, so that its Lease seems to be long over, and the follower's a day early."""
    options = ("--namespaces", own.namespace, "--lease", "--lease-namespace", own.namespace, "--lease-seconds", "3")
    late, early = (SKEWED, str(-DAY_SECONDS)), (SKEWED, str(DAY_SECONDS))
    with running_operator(tmp_path, own.kubeconfig, *options, program=late) as leader:
        upset(own)
        wait_until_converged(own)
        told = datetime.fromisoformat(own.conditions("edited")["Accepted"]["lastTransitionTime"])
        assert datetime.now(UTC) - told > timedelta(hours=23)
        with running_operator(tmp_path, own.kubeconfig, *options, program=early) as follower:
            follower.wait_until_ready()
            held = lease(own)
            eventually(lambda: lease(own)["renewTime"] > held["renewTime"], what="renewal of the Lease")
            time.sleep(3 * held["leaseDurationSeconds"])
            assert lease(own)["holderIdentity"] == held["holderIdentity"]
            mark = own.cluster.audit.mark()
            leader.process.send_signal(signal.SIGKILL)
            eventually(lambda: lease(own)["holderIdentity"] != held["holderIdentity"], what="another leader")
            wait_until_converged(own)
            assert own.cluster.audit.events(mark, user=own.user) == []
            upset(own)
            wait_until_converged(own)
