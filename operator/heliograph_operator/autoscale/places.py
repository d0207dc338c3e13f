"""Where the pods of models are, and where those that wait might be, as far as the operator may look."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Set
from datetime import datetime, timedelta

from heliograph_api import naming
from heliograph_operator.autoscale.placement import is_placed, may_hold, nodes_held_to
from heliograph_operator.diagnosis.scheduling import misses_volume
from heliograph_operator.inventory import Key
from heliograph_operator.kube import KubeApi, NotFoundError
from heliograph_operator.objects import claims_of
from heliograph_operator.resources import CLAIMS, NODES, PODS, VOLUMES, Object

_LABELS = {naming.MANAGED_BY_LABEL: naming.MANAGED_BY}
_FETCHER = "fetcher"
_MADE_FOR = "volume.kubernetes.io/selected-node"
"""Annotation by which the scheduler has a claim's volume made for the node of its first pod."""


class Places:
    """The pods of one moment, and the nodes as they are when they are first asked for."""

    def __init__(self, kube: KubeApi, pods: Iterable[Object], *, sees_nodes: bool) -> None:
        """Know `pods`; nodes and volumes are read where `sees_nodes` says that they may be."""
        self._kube = kube
        self._pods: dict[str, list[Object]] = defaultdict(list)
        self._replicas: dict[tuple[str, str], list[Object]] = defaultdict(list)
        self._ending: dict[tuple[str, str], list[Object]] = defaultdict(list)
        for pod in pods:
            metadata = pod["metadata"]
            self._pods[metadata["namespace"]].append(pod)
            is_fetcher = metadata["labels"].get(naming.COMPONENT_LABEL) == _FETCHER
            if not is_fetcher:
                pods_of = self._ending if metadata.get("deletionTimestamp") else self._replicas
                pods_of[metadata["namespace"], metadata["labels"].get(naming.MODEL_LABEL, "")].append(pod)
        self._sees_nodes = sees_nodes
        self._nodes: list[Object] | None = None

    @classmethod
    async def read(cls, kube: KubeApi, namespaces: Iterable[str], *, sees_nodes: bool) -> "Places":
        """Read the pods of some namespaces; raise `KubeError` when that fails."""
        pods = [pod for namespace in sorted(namespaces) for pod in await kube.list(PODS, namespace, labels=_LABELS)]
        return cls(kube, pods, sees_nodes=sees_nodes)

    def replicas(self, key: Key) -> Mapping[str, int]:
        """Return how many replicas of a model are on each node; those that are about to end are left out."""
        return Counter(pod["spec"]["nodeName"] for pod in self._pods_of(key) if is_placed(pod))

    def told_to_end(self, key: Key) -> datetime | None:
        """Return when a replica of a model was last told to end that still has its node; None when there is none."""
        ending = self._ending.get((key.namespace, naming.child_name(key.name)), [])
        return max((_told_to_end(pod) for pod in ending if is_placed(pod)), default=None)

    def unplaced(self, key: Key) -> Object | None:
        """Return the youngest replica of a model that has no node; None when each has one."""
        unplaced = [pod for pod in self._pods_of(key) if "nodeName" not in pod["spec"]]
        return max(unplaced, key=lambda pod: str(pod["metadata"].get("creationTimestamp")), default=None)

    async def open_to(self, pod: Object) -> Set[str] | None:
        """Return the nodes that a pod may be placed on once they have room; None when nothing is known to bar it.

        Where nodes and volumes may not be read, only a claim tells that is in use and fit for one node at a time, or
        whose volume was made for a node and is not reached from others.

        Raises:
            KubeError: What decides it could not be read.
        """
        namespace = pod["metadata"]["namespace"]
        try:
            claims = [await self._kube.get(CLAIMS, namespace, name) for name in claims_of(pod)]
            nodes = await self._reached(pod, claims) if self._sees_nodes else _nodes_of_volumes(pod, claims)
        except NotFoundError:
            return set()  # it waits for a volume, not for a GPU
        for held in (nodes_held_to(claim, self._pods[namespace]) for claim in claims):
            if held is not None:
                nodes = held if nodes is None else nodes & held
        return nodes

    async def _reached(self, pod: Object, claims: Iterable[Object]) -> set[str]:
        bound = [claim["spec"]["volumeName"] for claim in claims if claim["spec"].get("volumeName")]
        volumes = [await self._kube.get(VOLUMES, None, name) for name in bound]
        if self._nodes is None:
            self._nodes = await self._kube.list(NODES, None)
        return {node["metadata"]["name"] for node in self._nodes if may_hold(node, pod, volumes)}

    def _pods_of(self, key: Key) -> list[Object]:
        return self._replicas.get((key.namespace, naming.child_name(key.name)), [])


def _nodes_of_volumes(pod: Object, claims: Iterable[Object]) -> set[str] | None:
    """Return the nodes that volumes were made for, if some are not reached from every node; None when nothing tells."""
    annotations = (claim["metadata"].get("annotations") or {} for claim in claims)
    made_for = {found[_MADE_FOR] for found in annotations if _MADE_FOR in found}
    return made_for if made_for and misses_volume(pod) else None


def _told_to_end(pod: Object) -> datetime:
    metadata = pod["metadata"]
    # The time stamp is that of when it must have ended.
    grace = timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)
    return datetime.fromisoformat(metadata["deletionTimestamp"]) - grace
