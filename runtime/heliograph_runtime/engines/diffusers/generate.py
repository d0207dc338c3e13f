"""One pipeline call: a batch of prompts in, pictures out."""

from typing import Any

import torch

from heliograph_runtime.engines.diffusers.capabilities import call_parameters
from heliograph_runtime.engines.protocol import Batch, OnStep, Picture


def draw(pipeline: Any, batch: Batch, on_step: OnStep, *, options: dict[str, Any]) -> list[Picture]:
    """Return one picture for each prompt of a batch.

    Each image has a generator of its own on the CPU, so that it is the same alone and in a batch, and on every device.

    Args:
        pipeline: The pipeline, with a scheduler that no other call has used.
        batch: What to draw.
        on_step: Called after each step where the pipeline can tell.
        options: Further keyword arguments of the call.
    """
    sampling = batch.sampling
    wanted = {
        "prompt": list(batch.prompts),
        "negative_prompt": list(batch.negative_prompts) if batch.negative_prompts else None,
        "width": sampling.width,
        "height": sampling.height,
        "num_inference_steps": sampling.steps,
        "guidance_scale": sampling.guidance_scale,
        "clip_skip": sampling.clip_skip,
        "generator": [torch.Generator("cpu").manual_seed(seed) for seed in batch.seeds],
        "callback_on_step_end": _callback(on_step),
    }
    known = call_parameters(pipeline)
    given = {name: value for name, value in wanted.items() if value is not None and name in known}
    images = pipeline(**given, **options, output_type="pil").images
    return [Picture(image.width, image.height, image.convert("RGB").tobytes()) for image in images]


def _callback(on_step: OnStep) -> Any:
    def step_end(pipeline: Any, step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        on_step(step + 1, len(pipeline.scheduler.timesteps))
        return tensors

    return step_end
