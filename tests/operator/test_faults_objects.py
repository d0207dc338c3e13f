"""What is removed under the operator's feet: the definition of its kind, all children, the namespace."""

from pathlib import Path

import pytest

from cluster.control_plane import ControlPlane
from cluster.definitions import define_imagemodels, remove_imagemodels
from cluster.waiting import eventually
from heliograph_api import naming
from operator_faults import apply_models, upset, wait_until_converged
from operator_rig import CHILDREN, KINDS, Served, make_namespace, running_operator

MODELS = [f"model-{number}" for number in range(6)]
OURS = {"labelSelector": f"{naming.MANAGED_BY_LABEL}={naming.MANAGED_BY}"}


@pytest.fixture
def own(own_cluster: ControlPlane) -> Served:
    return make_namespace(own_cluster)


def test_children_that_are_all_deleted_at_once(own: Served, tmp_path: Path) -> None:
    with running_operator(tmp_path, own.kubeconfig, "--namespaces", own.namespace):
        apply_models(own, *MODELS)
        wait_until_converged(own)
        for kind in CHILDREN:
            path = KINDS[kind].format(own.namespace)
            for child in own.items(kind, **{naming.MANAGED_BY_LABEL: naming.MANAGED_BY}):
                own.cluster.admin.delete(f"{path}/{child['metadata']['name']}").raise_for_status()
        wait_until_converged(own)


def test_a_namespace_goes_while_no_operator_runs(own: Served, tmp_path: Path) -> None:
    """Nothing bears a finalizer that an operator would have to take off."""
    with running_operator(tmp_path, own.kubeconfig, "--namespaces", own.namespace) as operator:
        upset(own)
        wait_until_converged(own)
        assert operator.process.stop() == 0
    path = f"/api/v1/namespaces/{own.namespace}"
    own.cluster.admin.delete(path).raise_for_status()
    eventually(lambda: own.cluster.admin.get(path).status_code == 404, what="end of the namespace", timeout=60)


def test_a_definition_that_is_removed_and_restored(own: Served, tmp_path: Path) -> None:
    """With it go all ImageModels, and with them their children; the operator starts anew, and waits for it."""
    with running_operator(tmp_path, own.kubeconfig, "--namespaces", own.namespace) as operator:
        apply_models(own, *MODELS)
        wait_until_converged(own)
        remove_imagemodels(own.cluster)
        eventually(
            lambda: not any(own.items(kind, **{naming.MANAGED_BY_LABEL: naming.MANAGED_BY}) for kind in CHILDREN),
            what="end of the children",
            timeout=60,
        )
        # The API server cuts the watch some seconds later.
        assert operator.process.wait(timeout=120) == 1
    with running_operator(tmp_path, own.kubeconfig, "--namespaces", own.namespace):
        define_imagemodels(own.cluster)
        apply_models(own, *MODELS)
        wait_until_converged(own)
