"""All that an ImageModel asks for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from heliograph_api.engine import Engine, EngineChoice, choose_engine
from heliograph_api.manifest import ImageModel
from heliograph_api.status import SpecWarning
from heliograph_operator.drift import with_plan_hash
from heliograph_operator.plan import engine_diffusers, engine_sdcpp
from heliograph_operator.plan.configmap import plan_config_map
from heliograph_operator.plan.deployment import plan_deployment
from heliograph_operator.plan.engines import EngineRuntime
from heliograph_operator.plan.hardware import plan_hardware
from heliograph_operator.plan.networkpolicy import plan_network_policy
from heliograph_operator.plan.service import plan_service
from heliograph_operator.plan.serviceaccount import plan_service_account
from heliograph_operator.resources import Object
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
    """

    children: list[Object] = field(default_factory=list)
    engine: EngineChoice | None = None
    warnings: list[SpecWarning] = field(default_factory=list)


def plan(*, model: ImageModel, settings: OperatorSettings) -> Plan:
    """Return the plan of an ImageModel; an alias is a route and asks for nothing.

    Raises:
        SpecError: The spec contradicts itself, or asks for what this cluster does not have.
    """
    if model.spec.alias:
        return Plan()
    choice = choose_engine(model.spec)
    engine = _ENGINES[choice.name](settings=settings)
    hardware = plan_hardware(model=model, settings=settings, engine=choice.name, max_gpus=engine.max_gpus)
    children = [
        plan_service_account(model=model),
        plan_config_map(model=model),
        plan_network_policy(model=model, settings=settings),
        plan_service(model=model),
        plan_deployment(model=model, settings=settings, engine=engine, hardware=hardware),
    ]
    return Plan(children=[with_plan_hash(child) for child in children], engine=choice, warnings=hardware.warnings)


def plan_children(*, model: ImageModel, settings: OperatorSettings) -> list[Object]:
    """Return the objects that should exist for an ImageModel, in the order in which they are to be made.

    Raises:
        SpecError: The spec contradicts itself, or asks for what this cluster does not have.
    """
    return plan(model=model, settings=settings).children
