"""What AUTOMATIC1111's tools read before they ask for a picture."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request

from heliograph_api.sampler_table import SAMPLERS, SCHEDULES, Sampler, Schedule
from heliograph_gateway.keys.caller import caller_of
from heliograph_gateway.routing import RoutingTable

Able = Callable[[Request], Awaitable[Mapping[str, Any] | None]]
"""Returns what the model can do that requests are for; None when that is not known."""


def add_lists(router: APIRouter, routes: RoutingTable, able: Able) -> None:
    """Add the paths to `router`.

    Args:
        router: Where they are added.
        routes: The models.
        able: What the caller's model can do.
    """
    _add_names(router, able)

    @router.get("/sd-models")
    async def models(request: Request) -> list[dict[str, Any]]:
        return [
            {
                "title": model.id,
                "model_name": model.id,
                "hash": None,
                "sha256": None,
                "filename": model.id,
                "config": None,
            }
            for model in routes.listed(caller_of(request.scope))
        ]

    @router.get("/upscalers")
    async def upscalers() -> list[dict[str, Any]]:
        # Those of a second pass, which is not drawn.
        return [{"name": "None", "model_name": None, "model_path": None, "model_url": None, "scale": 4}]

    @router.get("/latent-upscale-modes")
    async def latent_upscale_modes() -> list[dict[str, Any]]:
        return []

    @router.get("/progress")
    async def progress() -> dict[str, Any]:
        # SillyTavern waits here for the end of a change of the model, which is done at once.
        return {"progress": 0.0, "eta_relative": 0.0, "state": {"job_count": 0}, "current_image": None}


def _add_names(router: APIRouter, able: Able) -> None:
    """Add the lists of what the caller's model has."""

    @router.get("/samplers")
    async def samplers(request: Request) -> list[dict[str, Any]]:
        known = await able(request)
        return [
            {"name": sampler.a1111 or sampler.name, "aliases": [sampler.name], "options": {}}
            for sampler in SAMPLERS
            if _has(known, "sampler", sampler)
        ]

    @router.get("/schedulers")
    async def schedulers(request: Request) -> list[dict[str, Any]]:
        known = await able(request)
        return [
            {"name": schedule.name, "label": schedule.name, "aliases": None}
            for schedule in SCHEDULES
            if _has(known, "schedule", schedule)
        ]

    @router.get("/loras")
    async def loras(request: Request) -> list[dict[str, Any]]:
        names = (await able(request) or {}).get("loras", ())
        return [{"name": name, "alias": name, "path": name} for name in names]


def _has(capabilities: Mapping[str, Any] | None, parameter: str, row: Sampler | Schedule) -> bool:
    """Return whether the model has a sampler or a schedule; whether any engine has it where that is not known."""
    if capabilities is None:
        return bool(row.diffusers or row.flow or row.sdcpp)
    return row.name in capabilities["parameters"].get(parameter, {}).get("enum", ())
