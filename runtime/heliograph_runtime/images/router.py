"""The endpoint itself."""

import asyncio
import secrets
import time

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from heliograph_api.errors import APIError
from heliograph_api.images import check_limits, parse_image_request
from heliograph_runtime.drawings import Drawing
from heliograph_runtime.images.body import read_json
from heliograph_runtime.images.encoding import images_response
from heliograph_runtime.images.planning import MAX_SEED, Plan, plan_images
from heliograph_runtime.metrics import CLIENT_CLOSED_REQUEST
from heliograph_runtime.service import Service


def images_router(service: Service) -> APIRouter:
    """Return the router of the images endpoints."""
    router = APIRouter()

    @router.post("/v1/images/generations")
    async def generations(request: Request) -> Response:
        status = 500
        try:
            response = await _answer(request, service)
            status = response.status_code
        except APIError as error:
            status = error.status
            raise
        except ClientDisconnect:
            response = Response(status_code=CLIENT_CLOSED_REQUEST)
            status = CLIENT_CLOSED_REQUEST
        finally:
            service.metrics.count_request(status)
        return response

    return router


async def _answer(request: Request, service: Service) -> Response:
    """Return the answer to a request, whose work is cancelled when the client leaves."""
    work = asyncio.create_task(_images(await read_json(request, max_bytes=service.settings.max_body_bytes), service))
    left = asyncio.create_task(_disconnect(request))
    try:
        await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return Response(work.result(), media_type="application/json")
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    finally:
        work.cancel()
        left.cancel()


async def _images(body: object, service: Service) -> bytes:
    """Return the JSON answer to a request's body."""
    request = parse_image_request(body)
    spec = service.model.spec
    check_limits(request, spec.request_limits)
    plan = plan_images(
        request,
        capabilities=service.capabilities,
        defaults=service.defaults,
        family_sampler=spec.serving.compat == "gpustack",
        random_seed=secrets.randbelow(MAX_SEED),
    )
    pictures = await service.draw(_drawings(plan))
    return await asyncio.to_thread(
        images_response,
        pictures,
        seeds=plan.seeds,
        output_format=request.output_format,
        created=int(time.time()),
    )


def _drawings(plan: Plan) -> list[Drawing]:
    return [
        Drawing(sampling=plan.sampling, prompt=prompt, negative_prompt=plan.negative_prompt, seed=seed)
        for prompt, seed in zip(plan.prompts, plan.seeds, strict=True)
    ]


async def _disconnect(request: Request) -> None:
    """Return when the client has closed the connection; the body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
