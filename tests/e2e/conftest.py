"""Fixtures: Heliograph installed on the control plane, and the tiny model served by it."""

import contextlib
from collections.abc import Callable, Iterator

import httpx
import pytest

from cluster.addresses import free_port
from cluster.control_plane import ControlPlane
from cluster.leash import Leash
from cluster.waiting import eventually, is_answered
from e2e.installation import NAMESPACE, RELEASE, ROOT, Installation


@pytest.fixture(scope="session")
def installation(
    imagemodels: ControlPlane, helm: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Heliograph installed by `kubectl apply -f crds/` and the chart, its operator and gateway running."""
    cluster = imagemodels
    folder = tmp_path_factory.mktemp("installation")
    kubeconfig = str(cluster.kubeconfig())
    helm(
        "upgrade", "--install", RELEASE, ROOT / "charts" / "heliograph",
        "--namespace", NAMESPACE, "--create-namespace", "--kubeconfig", kubeconfig,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    cluster.wait_for_namespace(NAMESPACE)
    installed = Installation(cluster=cluster, folder=folder, gateway_port=free_port())
    with contextlib.ExitStack() as running:
        installed.make_key()
        running.callback(installed.stop_operator)
        installed.start_operator()
        gateway = running.enter_context(installed.run_part("gateway", installed.gateway_port))
        gateway.wait_until(lambda: is_answered(f"{installed.gateway_url}/readyz"))
        yield installed


@pytest.fixture(scope="module")
def tiny(installation: Installation) -> Iterator[Leash]:
    """examples/tiny.yaml applied, its runtime running; both are gone afterwards."""
    installation.kubectl("apply", "--filename", ROOT / "examples" / "tiny.yaml")
    deployment = eventually(
        lambda: installation.items("deployments", "app.kubernetes.io/component=runtime"), what="Deployment of tiny"
    )[0]
    label = deployment["metadata"]["labels"]["heliograph.dev/model"]
    eventually(lambda: installation.items("services", f"heliograph.dev/model={label}"), what="Service of tiny")
    with installation.running_pod(label, deployment) as process:
        eventually(lambda: _is_routed(installation), what="route to tiny")
        yield process
        installation.kubectl("delete", "imagemodel/tiny", "--ignore-not-found")
    installation.wait_until_gone("services", f"heliograph.dev/model={label}")


def _is_routed(installation: Installation) -> bool:
    """Return whether the gateway reaches the runtime: it learns of the endpoint a moment after it is published."""
    url = f"{installation.gateway_url}/v1/images/generations"
    body = {"model": "tiny", "prompt": "a red circle", "steps": 1}
    answer = httpx.post(url, json=body, headers=installation.carrying_key, timeout=60)
    return answer.status_code == 200
