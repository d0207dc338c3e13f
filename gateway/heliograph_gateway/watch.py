"""Feeds the routing table from the ImageModels and EndpointSlices of a cluster."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from heliograph_api import naming
from heliograph_api.errors import SpecError
from heliograph_api.manifest import ImageModel
from heliograph_gateway.informer import Informer, Key
from heliograph_gateway.kube import KubeApi
from heliograph_gateway.models.observed import observed
from heliograph_gateway.routing import Endpoint, RoutingTable

logger = logging.getLogger(__name__)

SLICE_SELECTOR = f"{naming.SERVICE_NAME_LABEL},{naming.MANAGED_BY_LABEL}={naming.MANAGED_BY}"
"""The EndpointSlices of the operator's Services: their controller copies a Service's labels, but for those of its own
(k8s.io/endpointslice)."""

_MOST_REASON = 500


def informers(api: KubeApi, routes: RoutingTable, namespaces: Sequence[str]) -> list[Informer]:
    """Return the informers that feed a table, for the named namespaces or, when there are none, for all."""
    models, slices = ModelHandler(routes), SliceHandler(routes)
    scopes = [f"namespaces/{namespace}/" for namespace in namespaces] or [""]
    return [
        informer
        for scope in scopes
        for informer in (
            Informer(api, path=f"/apis/{naming.API_VERSION}/{scope}{naming.PLURAL}", handler=models),
            Informer(
                api,
                path=f"/apis/discovery.k8s.io/v1/{scope}endpointslices",
                handler=slices,
                label_selector=SLICE_SELECTOR,
            ),
        )
    ]


class ModelHandler:
    """Routes to the ImageModels that can be served as they are written."""

    def __init__(self, routes: RoutingTable) -> None:
        """Feed `routes`."""
        self._routes = routes
        self._refused: dict[Key, str] = {}

    def changed(self, obj: Mapping[str, Any]) -> None:
        """Take in an ImageModel; one that is being deleted, or that is invalid, has no route."""
        metadata = obj["metadata"]
        key = metadata["namespace"], metadata["name"]
        if metadata.get("deletionTimestamp"):
            self.deleted(*key)
            return
        try:
            model = ImageModel.from_object(obj)
        except SpecError as error:
            self._routes.remove_model(*key)
            if self._refused.get(key) != str(error):
                logger.warning("ImageModel %s/%s gets no route: %s", *key, error)
            self._refused[key] = str(error)
            return
        self._refused.pop(key, None)
        created = int(datetime.fromisoformat(metadata["creationTimestamp"]).timestamp())
        self._routes.set_model(
            model, created=created, not_ready=not_ready_reason(obj.get("status") or {}), observed=observed(obj)
        )

    def deleted(self, namespace: str, name: str) -> None:
        """Forget an ImageModel."""
        self._refused.pop((namespace, name), None)
        self._routes.remove_model(namespace, name)


class SliceHandler:
    """Merges the EndpointSlices of each Service into its endpoints."""

    def __init__(self, routes: RoutingTable) -> None:
        """Feed `routes`."""
        self._routes = routes
        self._services: dict[Key, Key] = {}
        self._slices: dict[Key, dict[str, tuple[Endpoint, ...]]] = {}

    def changed(self, obj: Mapping[str, Any]) -> None:
        """Take in an EndpointSlice."""
        metadata = obj["metadata"]
        key = metadata["namespace"], metadata["name"]
        service = metadata["namespace"], metadata["labels"][naming.SERVICE_NAME_LABEL]
        if self._services.get(key, service) != service:
            self.deleted(*key)
        self._services[key] = service
        self._slices.setdefault(service, {})[key[1]] = usable_endpoints(obj)
        self._publish(service)

    def deleted(self, namespace: str, name: str) -> None:
        """Forget an EndpointSlice."""
        service = self._services.pop((namespace, name))
        del self._slices[service][name]
        self._publish(service)

    def _publish(self, service: Key) -> None:
        slices = self._slices[service]
        self._routes.set_endpoints(*service, [endpoint for part in slices.values() for endpoint in part])
        if not slices:
            del self._slices[service]


def usable_endpoints(endpoint_slice: Mapping[str, Any]) -> tuple[Endpoint, ...]:
    """Return the endpoints of an EndpointSlice that take requests (k8s.io/api/discovery/v1).

    Ready ones that are not terminating, on the port named `http`, else on the only port. An endpoint whose readiness is
    not known counts as ready, and a slice of names instead of addresses has none.
    """
    port = _port(endpoint_slice.get("ports") or ())
    if port is None or endpoint_slice.get("addressType") not in {"IPv4", "IPv6"}:
        return ()
    return tuple(
        # The addresses of one endpoint are interchangeable; kube-proxy takes the first as well.
        Endpoint(endpoint["addresses"][0], port)
        for endpoint in endpoint_slice.get("endpoints") or ()
        if _takes_requests(endpoint.get("conditions") or {})
    )


def not_ready_reason(status: Mapping[str, Any]) -> str:
    """Return what an ImageModel's status says of why it is not ready: the Ready condition's message, else its reason.

    Empty when it says nothing, or that the model is ready.
    """
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Ready" and condition.get("status") != "True":
            return str(condition.get("message") or condition.get("reason") or "")[:_MOST_REASON]
    return ""


def _takes_requests(conditions: Mapping[str, Any]) -> bool:
    return conditions.get("ready") is not False and not conditions.get("terminating")


def _port(ports: Iterable[Mapping[str, Any]]) -> int | None:
    numbers: dict[str, int] = {port.get("name") or "": port["port"] for port in ports if port.get("port")}
    if len(numbers) == 1:
        return next(iter(numbers.values()))
    return numbers.get(naming.RUNTIME_PORT_NAME)
