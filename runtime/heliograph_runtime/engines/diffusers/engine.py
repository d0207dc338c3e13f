"""The diffusers engine: checks the files, loads the pipeline, draws batches."""

import logging
from pathlib import Path
from typing import Any

from heliograph_api.spec import ImageModelSpec
from heliograph_runtime.engines.diffusers.files import find_model
from heliograph_runtime.engines.diffusers.weights import check_model
from heliograph_runtime.engines.protocol import Batch, Capabilities, LoadError, OnStep, Picture
from heliograph_runtime.engines.samplers import find_sampler

log = logging.getLogger(__name__)


class DiffusersEngine:
    """Draws with a pipeline of the diffusers library."""

    def __init__(self) -> None:
        self._pipeline: Any = None
        self._scheduler: Any = None
        self._options: dict[str, Any] = {}

    def load(self, spec: ImageModelSpec, *, models_dir: Path) -> Capabilities:
        """Load the model, once; see `Engine.load`."""
        _refuse_what_is_not_served(spec)
        files = find_model(spec.model, models_dir=models_dir)
        check_model(files, models_dir=models_dir)

        # Only now, so that files that can't be served are refused at once: torch and diffusers take seconds to import.
        import torch  # noqa: PLC0415

        from heliograph_runtime.engines.diffusers import capabilities, loading, options  # noqa: PLC0415

        if spec.threads:
            torch.set_num_threads(spec.threads)
        device = loading.choose_device(spec)
        dtype = loading.choose_dtype(spec, device=device)
        log.info("loading %s on %s as %s", files.single_file or files.folder, device, dtype)
        self._pipeline = loading.load_pipeline(spec, files, models_dir=models_dir, device=device, dtype=dtype)
        self._scheduler = self._pipeline.scheduler
        self._options = options.pipeline_options(spec.options or (), capabilities.call_parameters(self._pipeline))
        found = capabilities.read_capabilities(
            self._pipeline, device=device, dtype=str(dtype).removeprefix("torch."), options=self._options
        )
        _check_defaults(spec, found)
        return found

    def generate(self, batch: Batch, on_step: OnStep) -> list[Picture]:
        """Return one picture for each prompt; see `Engine.generate`."""
        from heliograph_runtime.engines.diffusers import generate, schedulers  # noqa: PLC0415 - as in `load`

        self._pipeline.scheduler = schedulers.make_scheduler(self._scheduler, batch.sampling.sampler)
        return generate.draw(self._pipeline, batch, on_step, options=self._options)


def _refuse_what_is_not_served(spec: ImageModelSpec) -> None:
    diffusers = spec.diffusers
    if diffusers and diffusers.control_net:
        raise LoadError("Unsupported", "diffusers.control_net: is not served yet by this version; remove it")
    if diffusers and diffusers.img2img:
        raise LoadError("Unsupported", "diffusers.img2img: is not served yet by this version; remove it")
    if (spec.tensor_parallel_size or 0) > 1:
        raise LoadError("Unsupported", "tensor_parallel_size: this version uses one GPU; set it to 1, or remove it")


def _check_defaults(spec: ImageModelSpec, found: Capabilities) -> None:
    """Refuse defaults of the spec that the pipeline has no use for, as they are refused in a request."""
    diffusers, parameters = spec.diffusers, spec.parameters
    if (spec.step or 0) > found.max_steps:
        raise LoadError("InvalidSpec", f"step: must be at most {found.max_steps} for this model")
    sampler = diffusers and diffusers.scheduler_type
    if sampler and find_sampler(sampler, found.samplers) is None:
        accepted = f"use one of {', '.join(found.samplers)}" if found.samplers else "remove it: the model keeps its own"
        raise LoadError("InvalidSpec", f"diffusers.scheduler_type: {sampler!r} is no sampler of this model; {accepted}")
    if parameters and parameters.negative_prompt and not found.negative_prompt:
        raise LoadError(
            "InvalidSpec", f"parameters.negative_prompt: {found.pipeline} takes no negative prompt; remove it"
        )
    clip_skip = (diffusers and diffusers.clip_skip) or (parameters and parameters.clip_skip) or 0
    if clip_skip > (found.max_clip_skip or 0):
        most = "does not have it; remove it" if found.max_clip_skip is None else f"allows at most {found.max_clip_skip}"
        raise LoadError("InvalidSpec", f"diffusers.clip_skip: {found.pipeline} {most}")
