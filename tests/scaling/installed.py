"""What the tests of scaling run: gateways as processes and the autoscaler in this one, with the rights of the chart."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cluster.addresses import free_port, routable_address
from cluster.control_plane import ControlPlane
from cluster.leash import Leash
from heliograph_api import load, naming
from heliograph_gateway.informer import Informer
from heliograph_gateway.kube import KubeApi
from heliograph_operator.autoscale.autoscaler import Autoscaler
from heliograph_operator.autoscale.gateways import open_gateways
from heliograph_operator.inventory import Inventory, Key
from heliograph_operator.kube import KubeClient, connect
from heliograph_operator.metrics import Metrics

_CHART = Path(__file__).resolve().parents[2] / "charts" / "heliograph"
_RELEASE = "heliograph"
_KINDS = {"ServiceAccount", "Role", "RoleBinding"}
LOAD_SERVICE = f"{_RELEASE}-gateway-load"


@dataclass(frozen=True)
class GatewayProcess:
    """A running gateway and where it is reached."""

    process: Leash
    url: str
    load_port: int

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False).is_success
        except httpx.TransportError:
            return False

    def load(self) -> load.GatewayLoad:
        """Return the load that it tells."""
        answer = httpx.get(f"http://{routable_address()}:{self.load_port}{load.PATH}", trust_env=False)
        return load.GatewayLoad.model_validate_json(answer.raise_for_status().content)


class Installed:
    """A namespace with the accounts and roles of the chart in it."""

    def __init__(
        self, cluster: ControlPlane, namespace: str, folder: Path, helm: Callable[..., str], *options: str
    ) -> None:
        """Install into `namespace`; `options` are helm's."""
        self.cluster = cluster
        self.namespace = namespace
        self._folder = folder
        rendered = helm("template", _RELEASE, _CHART, "--namespace", namespace, *options)
        self.apply(*(item for item in yaml.safe_load_all(rendered) if item and item["kind"] in _KINDS))

    def apply(self, *objects: Mapping[str, Any]) -> None:
        bundle = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.cluster.kubectl("apply", "--namespace", self.namespace, "--filename", "-", input=bundle)

    def kubeconfig(self, component: str) -> Path:
        """Return the credentials of a part."""
        return self.cluster.service_account_kubeconfig(self.namespace, f"{_RELEASE}-{component}")

    def get(self, name: str) -> dict[str, Any]:
        """Return an ImageModel."""
        path = f"/apis/{naming.API_VERSION}/namespaces/{self.namespace}/{naming.PLURAL}/{name}"
        found: dict[str, Any] = self.cluster.admin.get(path).raise_for_status().json()
        return found

    def replicas(self, name: str) -> int:
        """Return how many replicas a model wants."""
        size: int = self.get(name)["spec"]["serving"]["replicas"]
        return size

    @contextlib.contextmanager
    def gateway(self, **settings: str) -> Iterator[GatewayProcess]:
        """Run a gateway, which is found by the autoscaler too."""
        port, load_port = free_port(), free_port()
        folder = self._folder / f"gateway-{port}"
        folder.mkdir()
        environment = {
            "HOST": "0.0.0.0",
            "PORT": str(port),
            "LOAD_PORT": str(load_port),
            "NAMESPACES": self.namespace,
            "DATA_DIR": str(folder),
            "RESPONSE_FORMAT": "b64_json",
            **settings,
        }
        variables = {f"HELIOGRAPH_GATEWAY_{name}": value for name, value in environment.items()}
        kubeconfig = {"KUBECONFIG": str(self.kubeconfig("gateway"))}
        command = [sys.executable, "-m", "heliograph", "gateway"]
        with Leash(command, log=folder / "log", env=os.environ | kubeconfig | variables) as process:
            running = GatewayProcess(process, f"http://127.0.0.1:{port}", load_port)
            process.wait_until(running.is_ready)
            self.apply(self._load_slice(load_port))
            yield running

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[KubeClient]:
        """A client that may do everything."""
        async with AsyncExitStack() as stack:
            with acting_as(self.cluster.kubeconfig()):
                kube = await stack.enter_async_context(connect(request_timeout=30.0, metrics=Metrics()))
            yield kube

    @contextlib.asynccontextmanager
    async def autoscaler(self, *, seconds: float = 0.1, window: float = 300.0) -> AsyncIterator[Autoscaler]:
        """Run the autoscaler inside the block, on what an informer tells of the ImageModels."""
        inventory = Inventory()
        service = Key(self.namespace, LOAD_SERVICE)
        async with AsyncExitStack() as stack:
            with acting_as(self.kubeconfig("operator")):
                kube = await stack.enter_async_context(connect(request_timeout=30.0, metrics=Metrics()))
            gateways = await stack.enter_async_context(open_gateways(kube=kube, service=service))
            autoscaler = Autoscaler(kube=kube, gateways=gateways, inventory=inventory, metrics=Metrics(), window=window)
            await stack.enter_async_context(self.informed(_Seen(inventory)))
            await stack.enter_async_context(running(autoscaler.run(seconds=seconds)))
            yield autoscaler

    @contextlib.asynccontextmanager
    async def informed(self, handler: Any) -> AsyncIterator[None]:
        """Tell a handler of the namespace's ImageModels inside the block."""
        path = f"/apis/{naming.API_VERSION}/namespaces/{self.namespace}/{naming.PLURAL}"
        with acting_as(self.kubeconfig("operator")):
            api = await KubeApi.connect()
        async with api, running(Informer(api, path=path, handler=handler).run()):
            yield

    def _load_slice(self, port: int) -> dict[str, Any]:
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"gateway-{port}", "labels": {naming.SERVICE_NAME_LABEL: LOAD_SERVICE}},
            "addressType": "IPv4",
            "ports": [{"name": load.PORT_NAME, "port": port}],
            "endpoints": [{"addresses": [routable_address()], "conditions": {"ready": True}}],
        }


class _Seen:
    """Keeps an inventory in step, as the operator does by kopf's events."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    def changed(self, obj: Mapping[str, Any]) -> None:
        self._inventory.see(dict(obj))

    def deleted(self, namespace: str, name: str) -> None:
        self._inventory.forget(Key(namespace, name))


@contextlib.asynccontextmanager
async def running(work: Any) -> AsyncIterator[None]:
    """Run something endless inside the block; if it ends by an error, that is raised at the end."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.contextmanager
def acting_as(kubeconfig: Path) -> Iterator[None]:
    """Have clients that are made inside the block take these credentials."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(kubeconfig))
        yield


def image_model(name: str, /, *, replicas: int = 0, scaling: Mapping[str, Any] | None = None, **spec: Any) -> Any:
    serving: dict[str, Any] = {"replicas": replicas}
    if scaling is not None:
        serving["scaling"] = scaling
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.KIND,
        "metadata": {"name": name},
        "spec": {**({} if "alias" in spec else {"parameters": {"model": "weights"}}), "serving": serving, **spec},
    }


def horizontal_pod_autoscaler(model: str) -> dict[str, Any]:
    """Return one that scales an ImageModel by the CPU time of its pods."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": model},
        "spec": {
            "scaleTargetRef": {"apiVersion": naming.API_VERSION, "kind": naming.KIND, "name": model},
            "minReplicas": 1,
            "maxReplicas": 3,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
                }
            ],
        },
    }
