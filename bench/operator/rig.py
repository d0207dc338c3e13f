"""A control plane of its own, with the operator as a process beside it, and the ImageModels that are in it."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from bench.operator.nodes import Nodes
from prometheus_client.parser import text_string_to_metric_families

from cluster.binaries import find_binaries
from cluster.control_plane import ControlPlane
from cluster.definitions import define_imagemodels
from cluster.waiting import eventually
from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.children import plan_children
from heliograph_operator.resources import CHILD_RESOURCES, DEPLOYMENTS, IMAGE_MODELS, Object, Resource
from heliograph_operator.settings import OperatorSettings
from operator_rig import ACCOUNT, RunningOperator, make_namespace, running_operator

CLIENTS = 8
"""Users who write at the same time."""
PATIENCE_SECONDS = 1800.0
RECONCILES = "heliograph_operator_reconcile_seconds_count"
"""The operator's metric of what it has worked on."""
_TOKEN_SECONDS = 24 * 3600
_REST_SECONDS = 5.0
_WATCH_SECONDS = 300.0
_SPEC: Object = {
    "parameters": {"model": "tiny/model.safetensors"},
    "step": 20,
    "serving": {"cache": {"existingClaim": "weights"}},
}


class Rig:
    """The control plane, the operator and one namespace, inside the `with` block."""

    def __init__(self, folder: Path) -> None:
        """Keep every file in `folder`."""
        self._folder = folder
        self._stack = ExitStack()
        self._operator_stack = ExitStack()
        self._cluster = ControlPlane(folder=folder, binaries=find_binaries())
        self.admin = self._cluster.admin
        """Client that may do everything."""
        self.settings = OperatorSettings()
        """What the operator is started with."""

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            starting.enter_context(self._cluster)
            define_imagemodels(self._cluster)
            # Its garbage collector learns of a new kind when it starts, or else within half a minute.
            with self._cluster.without("kube-controller-manager"):
                pass
            self._served = make_namespace(self._cluster)
            self._kubeconfig = self._cluster.service_account_kubeconfig(
                self._served.namespace, ACCOUNT, seconds=_TOKEN_SECONDS
            )
            starting.enter_context(Nodes(self.admin, self._served.namespace))
            self._before = {resource: self.count(resource) for resource in CHILD_RESOURCES}
            starting.callback(self.stop_operator)
            self.start_operator().wait_until_ready()
            self._stack = starting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def start_operator(self) -> RunningOperator:
        """Start the operator and return it; it need not be ready by then."""
        running = running_operator(self._folder, self._kubeconfig, "--namespaces", self._served.namespace)
        self.operator = self._operator_stack.enter_context(running)
        return self.operator

    def stop_operator(self) -> None:
        """End the operator."""
        self._operator_stack.close()

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the operator's samples of a name that bear the labels; 0 while there are none."""
        try:
            text = httpx.get(f"{self.operator.url}/metrics", trust_env=False).raise_for_status().text
        except httpx.TransportError:
            return 0.0
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())

    def wait_for_rest(self) -> None:
        """Wait until the operator has had nothing to do for some seconds."""
        seen, since = -1.0, time.monotonic()

        def rests() -> bool:
            nonlocal seen, since
            worked = self.metric(RECONCILES)
            if worked != seen:
                seen, since = worked, time.monotonic()
            return time.monotonic() - since > _REST_SECONDS

        eventually(rests, what="rest of the operator", timeout=PATIENCE_SECONDS)

    def mark(self) -> int:
        """Return the present place in the API server's audit log."""
        return self._cluster.audit.mark()

    def writes_since(self, mark: int) -> int:
        """Return how many writes the operator has asked for since then."""
        return len(self._cluster.audit.events(mark, user=self._served.user))

    def path(self, resource: Resource, name: str | None = None) -> str:
        """Return the path of an object, or of all of its kind."""
        return resource.path(self._served.namespace, name)

    def count(self, resource: Resource) -> int:
        """Return how many objects of a kind there are; they are not sent."""
        listed = self.admin.get(self.path(resource), params={"limit": 1}).raise_for_status().json()
        return len(listed["items"]) + int(listed["metadata"].get("remainingItemCount", 0))

    def children(self) -> Counter[Resource]:
        """Return how many objects there are of each kind of child, less those of the namespace itself."""
        return Counter({resource: self.count(resource) - before for resource, before in self._before.items()})

    def planned(self, models: int) -> Counter[Resource]:
        """Return how many children of each kind so many ImageModels have."""
        obj = {**self.model("any"), "metadata": {"name": "any", "namespace": "any", "uid": "any"}}
        kinds = {(resource.api_version, resource.kind): resource for resource in CHILD_RESOURCES}
        children = plan_children(model=ImageModel.from_object(obj), settings=self.settings)
        found = Counter(kinds[child["apiVersion"], child["kind"]] for child in children)
        return Counter({resource: number * models for resource, number in found.items()})

    def model(self, name: str) -> Object:
        """Return an ImageModel as a user writes it."""
        return {
            "apiVersion": naming.API_VERSION,
            "kind": naming.KIND,
            "metadata": {"name": name},
            "spec": _SPEC,
        }

    def find(self, resource: Resource, name: str) -> Object | None:
        """Return an object, or None."""
        answer = self.admin.get(self.path(resource, name))
        if answer.status_code == 404:
            return None
        found: Object = answer.raise_for_status().json()
        return found

    @contextmanager
    def watching(self, obj: Object) -> Iterator[Iterator[tuple[str, Object]]]:
        """Watch a Deployment that rests; yield what happens to it, and how it is afterwards."""
        query = {"fieldSelector": f"metadata.name={obj['metadata']['name']}"}
        # The object's own version may be older than the oldest event that the API server remembers.
        listed = self.admin.get(self.path(DEPLOYMENTS), params=query).raise_for_status().json()
        query |= {"watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"]}
        with self.admin.stream("GET", self.path(DEPLOYMENTS), params=query, timeout=_WATCH_SECONDS) as stream:
            yield ((event["type"], event["object"]) for event in map(json.loads, stream.iter_lines()))

    def create(self, name: str) -> None:
        """Create an ImageModel."""
        self.admin.post(self.path(IMAGE_MODELS), json=self.model(name)).raise_for_status()

    def create_all(self, names: list[str]) -> None:
        """Create ImageModels, several at a time."""
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(self.create, names))

    def edit(self, name: str, **fields: Any) -> None:
        """Change fields of an ImageModel's spec."""
        self.admin.patch(
            self.path(IMAGE_MODELS, name),
            headers={"Content-Type": "application/merge-patch+json"},
            content=json.dumps({"spec": fields}),
        ).raise_for_status()

    def delete(self, resource: Resource, name: str) -> None:
        """Delete an object."""
        self.admin.delete(self.path(resource, name)).raise_for_status()
