"""What a reconciliation saw and did, from which the status is told."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from heliograph_api.errors import SpecError
from heliograph_api.manifest import ImageModel
from heliograph_api.status import SpecWarning
from heliograph_operator.diagnosis.trouble import Trouble
from heliograph_operator.fetching import FetchProgress
from heliograph_operator.plan.children import Plan
from heliograph_operator.resources import Object


@dataclass(frozen=True)
class Rollout:
    """The state of a Deployment (k8s.io/api/apps/v1 `DeploymentStatus`)."""

    wanted: int
    replicas: int
    ready: int
    updated: int
    available: int
    is_current: bool
    """Whether the Deployment's controller has seen its present spec."""

    @classmethod
    def of(cls, deployment: Object) -> "Rollout":
        """Return the state of `deployment`."""
        status = deployment.get("status") or {}
        return cls(
            wanted=deployment["spec"].get("replicas", 1),
            replicas=status.get("replicas", 0),
            ready=status.get("readyReplicas", 0),
            updated=status.get("updatedReplicas", 0),
            available=status.get("availableReplicas", 0),
            is_current=status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0),
        )

    @property
    def is_complete(self) -> bool:
        """Return whether every pod is of the present template, and as many as are wanted are available."""
        return self.is_current and self.replicas == self.updated == self.available == self.wanted


@dataclass(frozen=True)
class Observation:
    """One reconciliation.

    Attributes:
        obj: The ImageModel as it was read.
        model: The ImageModel with its spec checked; None when the spec is invalid by itself.
        plan: What should exist; None when the spec is invalid, be it for want of something in the cluster.
        problem: What is wrong with the spec.
        warnings: What was not done as the spec has it.
        rollout: The state of the Deployment; None when there is none.
        conflicts: Children whose names somebody else's objects bear, as `Kind name`.
        refusals: Why the API server did not take children.
        leftovers: Why what is not asked for any more could not be removed.
        trouble: What keeps replicas from getting ready; None when nothing is known to.
        fetch_trouble: What keeps the weights from being fetched; None when nothing is known to.
        has_fetcher: Whether there is a Job that fetches the weights.
        progress: How far the fetch of the weights is; None when nothing is fetched, or the fetcher does not answer.
        again: Seconds after which to look again though nothing may have happened.
        makes_room: Whether an old pod that is idle goes first where there is no room for a new one beside it.
        rivals: HorizontalPodAutoscalers that scale the model beside `spec.serving.scaling`.
        misaimed: HorizontalPodAutoscalers that scale the Deployment in place of the model.
        lenders: The only namespaces whose idle models give a GPU up for this one; none where that is not limited.
        awaits_removal: Whether children of a deleted ImageModel of the same name are still being removed.
        target_exists: For an alias, whether there is a model of that name.
    """

    obj: Object
    model: ImageModel | None = None
    plan: Plan | None = None
    problem: SpecError | None = None
    warnings: list[SpecWarning] = field(default_factory=list)
    rollout: Rollout | None = None
    conflicts: list[str] = field(default_factory=list)
    refusals: list[Trouble] = field(default_factory=list)
    leftovers: list[Trouble] = field(default_factory=list)
    trouble: Trouble | None = None
    fetch_trouble: Trouble | None = None
    has_fetcher: bool = False
    progress: FetchProgress | None = None
    again: float | None = None
    makes_room: bool = False
    rivals: list[str] = field(default_factory=list)
    misaimed: list[str] = field(default_factory=list)
    lenders: Sequence[str] = ()
    awaits_removal: bool = False
    target_exists: bool = False
