"""All that an ImageModel asks for."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from heliograph_api.engine import Engine, EngineChoice, choose_engine
from heliograph_api.manifest import ImageModel
from heliograph_api.status import SpecWarning
from heliograph_operator.drift import has_plan_hash, with_plan_hash
from heliograph_operator.plan import engine_diffusers, engine_sdcpp
from heliograph_operator.plan.claim import (
    Share,
    access_modes,
    claim_warnings,
    plan_claim,
    plan_shared_claim,
    shared_claim_warnings,
)
from heliograph_operator.plan.configmap import plan_config_map
from heliograph_operator.plan.deployment import in_place, plan_deployment
from heliograph_operator.plan.engines import EngineRuntime
from heliograph_operator.plan.fetched import Fetched
from heliograph_operator.plan.fetcher import plan_fetch_job
from heliograph_operator.plan.hardware import Hardware, plan_hardware
from heliograph_operator.plan.networkpolicy import plan_fetcher_network_policy, plan_network_policy
from heliograph_operator.plan.poddisruptionbudget import plan_pod_disruption_budget
from heliograph_operator.plan.service import plan_service
from heliograph_operator.plan.serviceaccount import plan_service_account
from heliograph_operator.plan.weights import PlannedWeights, plan_weights
from heliograph_operator.resources import CLAIMS, CONFIG_MAPS, DEPLOYMENTS, Object
from heliograph_operator.settings import OperatorSettings

_ENGINES: Mapping[Engine, Callable[..., EngineRuntime]] = {
    "diffusers": engine_diffusers.plan_engine,
    "sdcpp": engine_sdcpp.plan_engine,
}


@dataclass(frozen=True)
class Plan:
    """What should exist for one ImageModel.

    Attributes:
        children: The objects, in the order in which they are to be made.
        engine: The engine; None for an alias.
        warnings: What could not be had as the spec asks.
        weights: How it comes by its weights; None for an alias.
        fetched: The weights, where they are fetched and there.
        shared: The model's part of the claim that models share; None where it has one of its own, or none.
    """

    children: list[Object] = field(default_factory=list)
    engine: EngineChoice | None = None
    warnings: list[SpecWarning] = field(default_factory=list)
    weights: PlannedWeights | None = None
    fetched: Fetched | None = None
    shared: Object | None = None

    @property
    def awaits_weights(self) -> bool:
        """Return whether pods have to wait until a Job has fetched the weights."""
        return self.weights is not None and self.weights.by_job is not None and self.fetched is None

    def in_place(self) -> "Plan":
        """Return the plan with old pods that end before new ones come."""
        return replace(
            self,
            children=[
                with_plan_hash(in_place(child)) if child["kind"] == DEPLOYMENTS.kind else child
                for child in self.children
            ],
        )

    def leaves(self, child: Object) -> bool:
        """Return whether a child that is not planned stays as it is: what serves on with the weights of before."""
        return self.awaits_weights and child["kind"] in {CLAIMS.kind, CONFIG_MAPS.kind, DEPLOYMENTS.kind}


def plan(
    *,
    model: ImageModel,
    settings: OperatorSettings,
    record: Fetched | None = None,
    noted: Collection[str] = (),
    mounted: Collection[str] = (),
    claim: Mapping[str, Any] | None = None,
) -> Plan:
    """Return the plan of an ImageModel; an alias is a route and asks for nothing.

    Args:
        model: The ImageModel.
        settings: The operator's settings.
        record: What was fetched last into the claim that the pods mount; other weights than the spec's are of no use to
            pods, which are planned once the right ones are there.
        noted: Folders that a claim which models share names as the model's.
        mounted: Folders of a claim of the model's own that pods of it have.
        claim: The claim that the pods mount, as it is; None where it is yet to be made, or nothing is known of it.

    Raises:
        SpecError: The spec contradicts itself, or asks for what this cluster does not have.
    """
    if model.spec.alias:
        return Plan()
    choice = choose_engine(model.spec)
    engine = _ENGINES[choice.name](settings=settings)
    weights = plan_weights(model=model, settings=settings, access_modes=access_modes(claim) if claim else ())
    fetched = record if record is not None and record.folder == weights.by_job else None
    size = fetched.bytes if fetched else None
    hardware = plan_model_hardware(model=model, settings=settings, engine=choice, size=size)
    children = [
        plan_service_account(model=model),
        plan_network_policy(model=model, settings=settings, fetches=weights.mode == "ephemeral"),
        plan_service(model=model),
        plan_pod_disruption_budget(model=model, weights=weights),
        *_cache(
            model=model,
            settings=settings,
            hardware=hardware,
            weights=weights,
            record=record,
            mounted=mounted,
            claim=claim,
        ),
    ]
    if fetched or not weights.by_job:
        children += [
            plan_config_map(model=model, weights=weights),
            plan_deployment(
                model=model, settings=settings, engine=engine, hardware=hardware, weights=weights, size=size
            ),
        ]
    shared = None
    if weights.is_shared:
        share = Share(record, frozenset({*noted, str(weights.folder)}))
        shared = plan_shared_claim(model=model, settings=settings, share=share, present=claim)
    return Plan(
        children=[child if has_plan_hash(child) else with_plan_hash(child) for child in children],
        engine=choice,
        warnings=[
            *hardware.warnings,
            *(claim_warnings(model=model, present=claim) if weights.mode == "perModel" else ()),
            *(shared_claim_warnings(model=model) if weights.is_shared else ()),
        ],
        weights=weights,
        fetched=fetched,
        shared=shared,
    )


def plan_model_hardware(
    *, model: ImageModel, settings: OperatorSettings, engine: EngineChoice, size: int | None = None
) -> Hardware:
    """Return what one replica of a model runs on; `size` are the bytes of its weights as far as they are known.

    Raises:
        SpecError: The profile is unknown, or there are more GPUs than the engine can use.
    """
    most = _ENGINES[engine.name](settings=settings).max_gpus
    return plan_hardware(model=model, settings=settings, engine=engine.name, max_gpus=most, size=size)


def plan_children(
    *, model: ImageModel, settings: OperatorSettings, claim: Mapping[str, Any] | None = None
) -> list[Object]:
    """Return all objects that there will be for an ImageModel in time, in the order in which they are made.

    The Job that fetches the weights is among them, which goes when it is done, and what waits for it. `claim` is as it
    is for `plan`.

    Raises:
        SpecError: The spec contradicts itself, or asks for what this cluster does not have.
    """
    planned = plan(model=model, settings=settings, claim=claim)
    if not planned.awaits_weights or planned.weights is None:
        return planned.children
    record = Fetched(str(planned.weights.by_job))
    later = plan(model=model, settings=settings, record=record, claim=claim).children
    at_once = {(child["kind"], child["metadata"]["name"]) for child in planned.children}
    return planned.children + [it for it in later if (it["kind"], it["metadata"]["name"]) not in at_once]


def _cache(
    *,
    model: ImageModel,
    settings: OperatorSettings,
    hardware: Hardware,
    weights: PlannedWeights,
    record: Fetched | None,
    mounted: Collection[str],
    claim: Mapping[str, Any] | None,
) -> list[Object]:
    """Return the claim of the model's own, and what fills it while it lacks the weights."""
    children: list[Object] = []
    if weights.mode == "perModel":
        children.append(plan_claim(model=model, settings=settings, fetched=record, present=claim))
    if weights.by_job and not model.spec.disabled and (record is None or record.folder != weights.by_job):
        # Of a shared volume, what is in use is for the operator to say when something is removed: see collecting.
        keep = None if weights.is_shared else sorted({*mounted, *([record.folder] if record else [])})
        children += [
            plan_fetcher_network_policy(model=model, settings=settings),
            plan_fetch_job(model=model, settings=settings, hardware=hardware, weights=weights, keep=keep),
        ]
    return children
