"""What the runtime tells of its model and of itself, for the gateway; none of it waits for anything."""

from typing import Any

from fastapi import APIRouter

from heliograph_api import capabilities, runtime_status
from heliograph_api.runtime_status import GpuStatus, RuntimeStatus
from heliograph_runtime.capabilities import describe_model
from heliograph_runtime.engines.protocol import DeviceMemory
from heliograph_runtime.service import Service


def reporting_router(service: Service) -> APIRouter:
    """Return the router of `/capabilities` and `/status`."""
    router = APIRouter()

    @router.get(capabilities.PATH)
    async def tell_capabilities() -> dict[str, Any]:
        found = service.capabilities
        return describe_model(service.model, found, service.defaults, family_sampler=service.family_sampler).document()

    @router.get(runtime_status.PATH)
    async def tell_status() -> RuntimeStatus:
        supervisor = service.supervisor
        return RuntimeStatus(
            ready=supervisor.unready is None,
            busy=supervisor.busy,
            requests=service.requests,
            most_requests=service.most_requests,
            queue=service.queue,
            gpu=_gpu(supervisor.memory) if supervisor.memory else None,
        )

    return router


def _gpu(memory: DeviceMemory) -> GpuStatus:
    return GpuStatus(name=memory.device, count=memory.devices, memory_used=memory.used, memory_total=memory.total)
