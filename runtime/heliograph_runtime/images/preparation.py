"""Making a request ready to be answered: reading and checking it, decoding its pictures, planning."""

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from PIL import Image

from heliograph_api.body import parse_body
from heliograph_api.images.model_rules import DEFAULT_MAX_PIXELS, apply_model
from heliograph_api.images.request import ImageRequest, parse_image_request
from heliograph_runtime.engines.protocol import Capabilities, Picture, Sampling
from heliograph_runtime.images.inputs import DecodedInputs, decode_inputs, fit_inputs
from heliograph_runtime.images.modes import choose_mode, enlarges_without_model, unsupported
from heliograph_runtime.images.planning import MAX_SEED, plan_pictures
from heliograph_runtime.images.prepared import Prepared
from heliograph_runtime.images.sizes import upscaled_size
from heliograph_runtime.service import Service

_READ_AT_ONCE = 65_536
"""Bytes of a body that is read on the event loop; a longer one may hold pictures in base64."""
_MAX_ENLARGED_PIXELS = 4096 * 4096
_MAX_PREVIEWS = 8

P = ParamSpec("P")
T = TypeVar("T")


class Preparation:
    """Makes the requests for one model ready.

    Pictures are decoded in one thread, so that hostile ones take the memory of one at a time; a semaphore would be free
    again as soon as a client leaves, while its picture is still being decoded.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="decoder")

    async def prepare(self, body: bytes, *, content_type: str, path: str) -> Prepared:
        """Return a request that can be answered.

        Args:
            body: The request's body.
            content_type: Its Content-Type.
            path: Path of the request, one of `IMAGE_PATHS`.

        Raises:
            APIError: 400, something in it can't be used; 503, the model is not loaded yet.
        """
        if len(body) <= _READ_AT_ONCE:
            written, request = self._read(body, content_type, path)
        else:
            written, request = await asyncio.to_thread(self._read, body, content_type, path)
        self._service.metrics.count_ignored_keys(len(request.ignored))
        capabilities = self._service.capabilities
        if enlarges_without_model(request, capabilities):
            return await self._enlarge(request)
        return await self._plan(request, written, capabilities)

    def _read(self, body: bytes, content_type: str, path: str) -> tuple[ImageRequest, ImageRequest]:
        """Return a request as it was written, and as its model takes it."""
        written = parse_image_request(parse_body(body, content_type), path=path)
        return written, apply_model(written, self._service.model.spec)

    async def _plan(self, request: ImageRequest, written: ImageRequest, capabilities: Capabilities) -> Prepared:
        spec = self._service.model.spec
        max_pixels = spec.request_limits.max_pixels or DEFAULT_MAX_PIXELS
        # What can be refused without its pictures is; whether the first has a transparent part is not known yet.
        choose_mode(request, capabilities, transparent=True)
        most = None if request.operation == "upscale" else min(max_pixels, capabilities.max_pixels or max_pixels)
        decoded = await self._decoded(request, reduce_to=most)
        planned = plan_pictures(
            request,
            written=written,
            capabilities=capabilities,
            defaults=self._service.defaults,
            family_sampler=self._service.family_sampler,
            random_seed=secrets.randbelow(MAX_SEED),
            max_pixels=max_pixels,
            picture=decoded.size,
            transparent=decoded.erased is not None,
        )
        sampling = planned[0].sampling
        return Prepared(
            request=request,
            planned=planned,
            inputs=await self._in_decoder(fit_inputs, decoded, sampling) if request.inputs else None,
            preview_steps=_preview_steps(request, sampling) if capabilities.previews else (),
        )

    async def _enlarge(self, request: ImageRequest) -> Prepared:
        """Return an enlargement without the model, in good quality and with nothing added (LocalAI's behaviour)."""
        if len(request.images) + len(request.reference_images) > 1:
            raise unsupported("image", "one picture is enlarged at a time; send one.")
        if request.n > 1:
            raise unsupported("n", "an enlargement comes out the same each time; ask for one.")
        decoded = await self._decoded(request)
        image = decoded.images[0].rgb
        limit = self._service.model.spec.request_limits.max_pixels or _MAX_ENLARGED_PIXELS
        size = upscaled_size(request, image.size, max_pixels=limit)

        def enlarge() -> Picture:
            return Picture(*size, image.resize(size, Image.Resampling.LANCZOS).tobytes())

        return Prepared(request=request, enlarged=await self._in_decoder(enlarge))

    async def _decoded(self, request: ImageRequest, *, reduce_to: int | None = None) -> DecodedInputs:
        if not request.inputs:
            return DecodedInputs()
        max_pixels = self._service.settings.max_input_pixels
        return await self._in_decoder(decode_inputs, request, max_pixels=max_pixels, reduce_to=reduce_to)

    async def _in_decoder(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._decoder, lambda: work(*args, **kwargs))


def _preview_steps(request: ImageRequest, sampling: Sampling) -> tuple[int, ...]:
    """Return the steps, spaced evenly, after which a stream shows the unfinished picture; none for clips."""
    if request.stream is None or sampling.frames is not None:
        return ()
    wanted = request.stream.partial_images or (_MAX_PREVIEWS if request.stream.preview else 0)
    steps = sampling.steps_taken
    places = {round(steps * number / (wanted + 1)) for number in range(1, wanted + 1)}
    return tuple(sorted(places - {0, steps}))
