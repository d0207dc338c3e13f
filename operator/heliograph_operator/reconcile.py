"""Brings what there is in line with one ImageModel, and reports on it.

Nothing is remembered from one reconciliation to the next: each reads the ImageModel and its children anew, and writes
only what differs. Doing it twice, in whatever order, ends in the same state.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime

from heliograph_api.advice import spec_warnings
from heliograph_api.errors import SpecError
from heliograph_api.manifest import ImageModel
from heliograph_operator.autoscale.rivals import misaimed_at, rivals_of
from heliograph_operator.collecting import Collector
from heliograph_operator.diagnosis.refusals import removal_refused
from heliograph_operator.examination import LOOK_SECONDS, Diagnosis, Examiner
from heliograph_operator.fetching import AsksProgress, fetch_job, fetched_by, has_filled, mounted_folders
from heliograph_operator.inventory import Inventory, Key, key_of, target_names
from heliograph_operator.kube import ForbiddenError, InvalidError, KubeApi, KubeError, NotFoundError
from heliograph_operator.metrics import Metrics
from heliograph_operator.observation import Observation, Rollout
from heliograph_operator.ownership import Owner, owner_of
from heliograph_operator.plan.children import Plan, plan
from heliograph_operator.plan.claim import UNSEEN, Share
from heliograph_operator.plan.deployment import is_in_place, wanted_replicas
from heliograph_operator.plan.fetched import Fetched
from heliograph_operator.reporting import Reporter
from heliograph_operator.resources import (
    CHILD_RESOURCES,
    CLAIMS,
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    IMAGE_MODELS,
    JOBS,
    NETWORK_POLICIES,
    Object,
)
from heliograph_operator.rollouts import AsksLoad, is_blocked, is_idle, makes_way
from heliograph_operator.settings import OperatorSettings
from heliograph_operator.settling import Settled, Settler
from heliograph_operator.sharing import SharedClaims
from heliograph_operator.workqueue import Retry

_REMOVAL_SECONDS = 2.0


class Reconciler:
    """Reconciles ImageModels, one key at a time."""

    def __init__(
        self,
        *,
        kube: KubeApi,
        settings: OperatorSettings,
        inventory: Inventory,
        metrics: Metrics,
        progress: AsksProgress,
        gateways: AsksLoad | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Write through `kube`, ask fetchers by `progress` and for the load by `gateways`; `clock` dates conditions."""
        self._kube = kube
        self._gateways = gateways
        self._settings = settings
        self._inventory = inventory
        self._metrics = metrics
        self._examiner = Examiner(kube=kube, progress=progress, retry_seconds=settings.fetch_retry_seconds, clock=clock)
        self._shared = SharedClaims(kube=kube, settings=settings, metrics=metrics)
        self._collector = Collector(kube=kube, settings=settings, metrics=metrics, shared=self._shared)
        self._settler = Settler(
            kube=kube, metrics=metrics, shared=self._shared, is_due=lambda job: self._examiner.retry_seconds(job) == 0
        )
        self._reporter = Reporter(kube=kube, inventory=inventory, metrics=metrics, clock=clock)

    async def reconcile(self, key: Key) -> float | None:
        """Bring the children and the status of an ImageModel up to date.

        Returns:
            Seconds after which to look again though nothing may have happened; None for what events tell.

        Raises:
            Retry: Something stands in the way that may pass.
        """
        try:
            obj = await self._kube.get(IMAGE_MODELS, *key)
        except NotFoundError:
            return await self._collect_after(key)
        except KubeError as error:
            raise Retry(error.message) from error
        if obj["metadata"].get("deletionTimestamp"):
            # Garbage collection removes the children; to make them anew would only keep it busy.
            return None
        try:
            seen = await self._converge(obj)
            await self._reporter.report(seen)
        except KubeError as error:
            raise Retry(error.message) from error
        if seen.awaits_removal:
            raise Retry("children of a deleted ImageModel are still there", after=_REMOVAL_SECONDS)
        if seen.refusals or seen.leftovers or seen.conflicts:
            refused = (found.message for found in (*seen.refusals, *seen.leftovers))
            foreign = (f"{name} is somebody else's" for name in seen.conflicts)
            raise Retry("; ".join([*refused, *foreign]), at_latest=seen.again)
        return seen.again

    async def _converge(self, obj: Object) -> Observation:
        children = await self._examiner.children(obj, CHILD_RESOURCES)
        owned = _owned(children, obj)
        model = None
        try:
            model = ImageModel.from_object(obj)
            planned = await self._plan(obj, model, owned)
            makes_room = self._makes_room(model)
            if await self._ends_old_first(obj, owned, makes_room=makes_room):
                planned = planned.in_place()
        except SpecError as problem:
            return await self._keep(obj, model, owned, problem)
        settled = Settled()
        is_open = planned.shared is None or await self._share(model, planned, children, settled)
        wanted = [child for child in planned.children if is_open or child["kind"] != JOBS.kind]
        await self._settler.settle(obj, wanted, children, settled)
        await self._settler.prune(planned, owned, settled)
        if planned.awaits_weights and (deployment := _deployment(owned)):
            replicas = wanted_replicas(model=model)
            settled.deployment = await self._settler.resize(deployment, settled, replicas=replicas)
        rollout = Rollout.of(settled.deployment) if settled.deployment else None
        diagnosis = Diagnosis()
        if planned.engine is not None:
            diagnosis = await self._examiner.diagnose(obj, deployment=settled.deployment, job=settled.job)
        rivals, misaimed = await self._rivals(model)
        look = await self._collect(key_of(obj), planned, settled) if is_open else None
        return Observation(
            obj=obj,
            model=model,
            plan=planned,
            warnings=[*planned.warnings, *spec_warnings(model.raw_spec, model.spec)],
            rollout=rollout,
            conflicts=settled.conflicts,
            refusals=settled.refusals,
            leftovers=settled.leftovers,
            trouble=diagnosis.trouble,
            fetch_trouble=diagnosis.fetch_trouble,
            has_fetcher=settled.job is not None,
            progress=diagnosis.progress,
            again=_soonest(
                diagnosis.again,
                LOOK_SECONDS if makes_room and is_blocked(rollout, diagnosis.trouble) else None,
                look,
            ),
            makes_room=makes_room,
            rivals=rivals,
            misaimed=misaimed,
            lenders=self._lenders(model),
            awaits_removal=settled.awaits_removal,
            target_exists=await self._target_exists(model),
        )

    async def _keep(
        self, obj: Object, model: ImageModel | None, owned: list[Object], problem: SpecError
    ) -> Observation:
        """Leave what the last valid spec made but for its size, where only the cluster lacks what the spec asks for."""
        deployment, settled, diagnosis = _deployment(owned), Settled(), Diagnosis()
        if deployment is not None and model is not None:
            fence = (NETWORK_POLICIES.kind, deployment["metadata"]["name"])
            settled.is_unfenced = fence not in {(child["kind"], child["metadata"]["name"]) for child in owned}
            deployment = await self._settler.resize(deployment, settled, replicas=wanted_replicas(model=model))
        if deployment is not None:
            diagnosis = await self._examiner.diagnose(obj, deployment=deployment, job=None)
        rivals, misaimed = await self._rivals(model) if model else ([], [])
        return Observation(
            obj=obj,
            model=model,
            problem=problem,
            rollout=Rollout.of(deployment) if deployment else None,
            refusals=settled.refusals,
            trouble=diagnosis.trouble,
            again=diagnosis.again,
            rivals=rivals,
            misaimed=misaimed,
            lenders=self._lenders(model) if model else (),
        )

    def _lenders(self, model: ImageModel) -> Sequence[str]:
        """Return the namespaces that a GPU can come from for a model; none where any can, or none is handed over."""
        if not self._settings.handover:
            return ()
        return self._settings.namespaces if self._settings.handover_across_namespaces else (model.namespace,)

    def _makes_room(self, model: ImageModel) -> bool:
        return self._gateways is not None and (model.spec.serving.rollout or self._settings.rollout) == "replace"

    async def _ends_old_first(self, obj: Object, owned: list[Object], *, makes_room: bool) -> bool:
        """Return whether a rollout has no room for new pods while nothing needs an old one."""
        deployment = _deployment(owned)
        if deployment is None:
            return False
        rollout = Rollout.of(deployment)
        if not rollout.is_current and is_in_place(deployment):
            # What the old pods hold is not free before the Deployment's controller has seen that they go first.
            return True
        if rollout.replicas <= rollout.updated:
            return False
        _, runtimes = await self._examiner.pods(obj)
        found = self._examiner.trouble(deployment, runtimes)
        if makes_way(rollout, found):
            return True
        if not makes_room or self._gateways is None or not is_blocked(rollout, found):
            return False
        return is_idle(str(key_of(obj)), await self._gateways.read())

    async def _rivals(self, model: ImageModel) -> tuple[list[str], list[str]]:
        """Return the HorizontalPodAutoscalers that scale a model beside the operator, and those of its Deployment."""
        key = Key(model.namespace, model.name)
        autoscalers = await self._kube.list(HORIZONTAL_POD_AUTOSCALERS, model.namespace)
        rivals = rivals_of(key, autoscalers) if model.spec.serving.scaling is not None else []
        return rivals, misaimed_at(key, autoscalers)

    async def _plan(self, obj: Object, model: ImageModel, owned: list[Object]) -> Plan:
        """Return the plan, with the weights that a Job has fetched by now.

        Raises:
            SpecError: See `plan`.
        """
        claim, record, share = _claim(owned), Fetched.of(owned), Share()
        planned = plan(model=model, settings=self._settings, record=record, claim=claim)
        if planned.weights is not None and planned.weights.mode == "existing":
            claim = await self._given_claim(model.namespace, str(planned.weights.claim))
            return plan(model=model, settings=self._settings, claim=claim)
        if planned.shared is not None:
            share, claim = await self._shared.read(model)
            record = share.fetched
            planned = plan(model=model, settings=self._settings, record=record, noted=share.folders, claim=claim)
        folder = planned.weights.by_job if planned.weights else None
        if planned.weights is None or folder is None or planned.fetched:
            return planned
        job = fetch_job(owned, folder, str(planned.weights.claim))
        if job is not None and (claim is None or not has_filled(job, claim)):
            return planned
        fetchers, runtimes = await self._examiner.pods(obj)
        mounted: Collection[str] = ()
        if job is not None:
            record = fetched_by(job, fetchers)
        else:
            mounted = mounted_folders(runtimes, str(planned.weights.claim))
        return plan(
            model=model, settings=self._settings, record=record, noted=share.folders, mounted=mounted, claim=claim
        )

    async def _given_claim(self, namespace: str, name: str) -> Object:
        """Return a claim that is somebody else's to make, or what it is taken for until it is there."""
        try:
            return await self._kube.get(CLAIMS, namespace, name)
        except NotFoundError:
            return UNSEEN

    async def _share(self, model: ImageModel, planned: Plan, children: list[Object], settled: Settled) -> bool:
        """Make sure of a model's part of a shared claim; return whether its weights can be fetched into that."""
        if planned.shared is None or not await self._settler.share(model, planned.shared, settled):
            return False
        folder = planned.weights.by_job if planned.weights else None
        settled.awaits_removal = folder is not None and await self._collector.stop(children, folder)
        return not settled.awaits_removal

    async def _collect(self, key: Key, planned: Plan, settled: Settled) -> float | None:
        """Have removed what a model left in the claim of its namespace; see `Collector.collect`."""
        if not self._inventory.shares(key):
            return None
        # In another claim, the weights are in a folder of the same name.
        needed = planned.weights.by_job if planned.weights and planned.weights.is_shared else None
        try:
            return await self._collector.collect(key, part=planned.shared, needed=needed)
        except (InvalidError, ForbiddenError) as error:
            what = f"unused weights from {CLAIMS.kind} {self._settings.cache_shared_claim}"
            settled.leftovers.append(removal_refused(error.message, what=what))
            return None

    async def _collect_after(self, key: Key) -> float | None:
        """Forget a model that is gone, and have removed what it left in the claim of its namespace."""
        self._inventory.forget(key)
        try:
            return await self._collector.collect(key) if self._inventory.shares(key) else None
        except KubeError as error:
            raise Retry(error.message) from error

    async def _target_exists(self, model: ImageModel) -> bool:
        if not model.spec.alias:
            return False
        for namespace in (model.namespace, *(self._settings.namespaces or (None,))):
            models = await self._kube.list(IMAGE_MODELS, namespace)
            standing = (obj for obj in models if not obj["metadata"].get("deletionTimestamp"))
            if any(model.spec.alias in target_names(obj) for obj in standing):
                return True
        return False


def _soonest(*seconds: float | None) -> float | None:
    return min((it for it in seconds if it is not None), default=None)


def _owned(children: Iterable[Object], obj: Object) -> list[Object]:
    name, uid = obj["metadata"]["name"], obj["metadata"]["uid"]
    return [child for child in children if owner_of(child, name=name, uid=uid) is Owner.MODEL]


def _claim(children: Iterable[Object]) -> Object | None:
    return next((child for child in children if child["kind"] == CLAIMS.kind), None)


def _deployment(children: Iterable[Object]) -> Object | None:
    return next((child for child in children if child["kind"] == DEPLOYMENTS.kind), None)
