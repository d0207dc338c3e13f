"""Which idle models give their GPUs to models that have requests and find none; pure.

Only a model that the next request wakes again gives way: one with `spec.serving.scaling` and a `min` of 0, not pinned,
without requests, and awake for long enough not to be swapped in and out all the time.
"""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from heliograph_api.engine import choose_engine
from heliograph_api.manifest import ImageModel
from heliograph_operator.autoscale.decision import Demand
from heliograph_operator.autoscale.subject import Subject
from heliograph_operator.inventory import Key
from heliograph_operator.plan.children import plan_model_hardware
from heliograph_operator.settings import OperatorSettings


@dataclass(frozen=True)
class Claim:
    """The GPUs of one replica.

    Attributes:
        resource: Extended resource that stands for one GPU, such as nvidia.com/gpu.
        count: How many.
        nodes: Labels that the nodes must have.
    """

    resource: str
    count: int
    nodes: Mapping[str, str] = field(default_factory=dict)

    def may_serve(self, other: "Claim") -> bool:
        """Return whether a GPU that this one leaves may be of use to another: nothing says that the nodes differ."""
        apart = any(other.nodes.get(label, value) != value for label, value in self.nodes.items())
        return self.resource == other.resource and not apart


@dataclass(frozen=True)
class Contender:
    """A model that has a GPU, or wants one.

    Attributes:
        key: The model.
        subject: What the autoscaler knows of it.
        demand: What is known of its requests.
        claim: The GPUs of one of its replicas.
        replicas_on: Replicas that are placed, by node.
        has_rival: Whether a HorizontalPodAutoscaler sets its size.
    """

    key: Key
    subject: Subject
    demand: Demand
    claim: Claim
    replicas_on: Mapping[str, int] = field(default_factory=dict)
    has_rival: bool = False

    def is_waiting(self) -> bool:
        """Return whether it has requests, and no replica for want of a GPU."""
        return self.subject.lacks_gpu and self.demand.load > 0

    def gpus_on(self, node: str) -> int:
        """Return how many GPUs of a node it has."""
        return self.claim.count * self.replicas_on.get(node, 0)

    def may_rest(self, *, now: datetime, residence: float) -> bool:
        """Return whether it can do without its replicas; `residence` are the seconds that it keeps a GPU at least."""
        subject, since = self.subject, self.subject.ready_since
        return (
            subject.replicas > 0
            and since is not None
            and (now - since).total_seconds() >= residence
            and subject.scaling.fewest == 0
            and not subject.pinned
            and not self.has_rival
            and self.demand.is_complete
            and self.demand.load == 0
        )


def claim_of(model: ImageModel, settings: OperatorSettings) -> Claim | None:
    """Return the GPUs of one replica; None for a model that has none, or no plain number of them.

    Raises:
        SpecError: See `plan_hardware`.
    """
    hardware = plan_model_hardware(model=model, settings=settings, engine=choose_engine(model.spec))
    resource = hardware.gpu_resource
    if resource is None:
        return None
    # A quantity may be "500m" or "1k" too, of which the API server takes no pod or hardly one.
    count = hardware.resources["limits"][resource]
    if not count.isdecimal() or int(count) == 0:
        return None
    return Claim(resource, int(count), nodes=hardware.node_selector)


def choose_victims(
    waiter: Contender,
    others: Iterable[Contender],
    *,
    now: datetime,
    residence: float,
    across_namespaces: bool,
    open_nodes: Container[str] | None = None,
) -> Sequence[Contender]:
    """Return the models that give way to `waiter`, as few as leave enough GPUs on one node; none if there is no such.

    The one of least priority goes first, and among equals the one that has been idle for longest. None goes that ranks
    above the waiter, and of another namespace only one that ranks below it, where the administrator allows that.

    Args:
        waiter: A model that waits for a GPU.
        others: The models that may have one.
        now: The time, in UTC.
        residence: Seconds that a model keeps its GPU at least, from when it was ready.
        across_namespaces: Whether a model of another namespace may be put out.
        open_nodes: Nodes that the waiter may be placed on; None when that is any, for all that is known.
    """
    resting = [
        other
        for other in others
        if other.key != waiter.key
        and other.claim.may_serve(waiter.claim)
        and other.may_rest(now=now, residence=residence)
        and _ranks_below(other, waiter, across_namespaces=across_namespaces)
    ]
    resting.sort(key=lambda other: (other.subject.priority, -other.demand.idle_seconds, other.key))
    free: Counter[str] = Counter()
    for last, other in enumerate(resting):
        for node in other.replicas_on:
            if open_nodes is not None and node not in open_nodes:
                continue
            free[node] += other.gpus_on(node)
            if free[node] >= waiter.claim.count:
                return _fewest(resting[: last + 1], node=node, spare=free[node] - waiter.claim.count)
    return []


def _fewest(victims: Sequence[Contender], *, node: str, spare: int) -> Sequence[Contender]:
    """Return the victims without those that a node does not need; `spare` are the GPUs that would be too many."""
    needed: list[Contender] = []
    for victim in reversed(victims):
        if victim.gpus_on(node) <= spare:
            spare -= victim.gpus_on(node)
        else:
            needed.append(victim)
    return needed[::-1]


def _ranks_below(other: Contender, waiter: Contender, *, across_namespaces: bool) -> bool:
    if other.key.namespace == waiter.key.namespace:
        return other.subject.priority <= waiter.subject.priority
    return across_namespaces and other.subject.priority < waiter.subject.priority
