"""The kinds of objects that the operator reads and writes."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from heliograph_api import naming

Object = dict[str, Any]
"""An API object as plain JSON; partial bodies for server-side apply could not be built from typed models."""


@dataclass(frozen=True)
class Resource:
    """A kind and where the API serves it.

    Attributes:
        api_version: Group and version, such as `apps/v1`; `v1` for the core group.
        kind: Kind, such as `Deployment`.
        plural: Name in the path, such as `deployments`.
    """

    api_version: str
    kind: str
    plural: str

    @property
    def group_path(self) -> str:
        """Return the path of the group and version."""
        return f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the path of one object, or of the collection when there is no name; None is all namespaces or none.

        A name may be anything: owner references and annotations can be anybody's words.
        """
        path = self.group_path
        if namespace is not None:
            path += f"/namespaces/{quote(namespace, safe='')}"
        return "/".join(part for part in (path, self.plural, quote(name or "", safe=""), subresource) if part)


IMAGE_MODELS = Resource(naming.API_VERSION, naming.KIND, naming.PLURAL)
SERVICE_ACCOUNTS = Resource("v1", "ServiceAccount", "serviceaccounts")
CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps")
NETWORK_POLICIES = Resource("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
SERVICES = Resource("v1", "Service", "services")
POD_DISRUPTION_BUDGETS = Resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
CLAIMS = Resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
JOBS = Resource("batch/v1", "Job", "jobs")
DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments")
PODS = Resource("v1", "Pod", "pods")
NODES = Resource("v1", "Node", "nodes")
VOLUMES = Resource("v1", "PersistentVolume", "persistentvolumes")
EVENTS = Resource("events.k8s.io/v1", "Event", "events")
ENDPOINT_SLICES = Resource("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
HORIZONTAL_POD_AUTOSCALERS = Resource("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
LEASES = Resource("coordination.k8s.io/v1", "Lease", "leases")

CHILD_RESOURCES = (
    SERVICE_ACCOUNTS,
    CONFIG_MAPS,
    NETWORK_POLICIES,
    SERVICES,
    POD_DISRUPTION_BUDGETS,
    CLAIMS,
    JOBS,
    DEPLOYMENTS,
)
"""Kinds of children, in the order in which they are made: a pod must find its configuration and be fenced in."""
