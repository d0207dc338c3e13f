"""What is done when a device runs out of memory, or is lost."""

import gc
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from heliograph_runtime.engines.protocol import Batch, DeviceLostError, OnStep, OutOfMemoryError, Picture

Draw = Callable[[Batch, OnStep, bool], list[Picture]]
"""Draws a batch in one call; with True it saves memory where it can, whatever that costs."""

# In lower case. The CPU's allocator, oneDNN (which can't make room for a primitive), MPS, cuBLAS and cuDNN have no
# exception class of their own for it.
_OUT_OF_MEMORY = (
    "out of memory", "can't allocate memory", "not enough memory", "status_alloc_failed",
    "could not create a primitive",
)  # fmt: skip
_DEVICE_LOST = ("cuda error", "hip error", "device-side assert", "device_lost", "status_execution_failed", "ecc error")

log = logging.getLogger(__name__)


def draw_within_memory(
    draw: Draw, batch: Batch, on_step: OnStep, *, at_once: int, recover: Callable[[], None]
) -> list[Picture]:
    """Return one picture for each prompt of a batch, in smaller batches and more thriftily if memory runs out.

    Each time it does, what is left over is given back and half as many pictures are drawn at once, at last one by one;
    finished ones are kept. In smaller batches there are no previews, which would be of some of the pictures only.

    Args:
        draw: Draws a batch in one call.
        batch: What to draw.
        on_step: Called after each step; what it raises passes.
        at_once: Most pictures to draw in one call.
        recover: Gives back what a call that was left half-way, for whatever reason, has left behind.

    Raises:
        OutOfMemoryError: Even one picture alone does not fit.
        DeviceLostError: The process must end.
    """
    pictures: list[Picture] = []
    frugal = False
    while len(pictures) < len(batch.prompts):
        piece = _piece(batch, start=len(pictures), size=at_once)
        try:
            pictures += draw(piece, _progress(on_step, len(pictures), piece, batch), frugal)
            continue
        except Exception as error:
            if not is_out_of_memory(error):
                if is_device_lost(error):
                    raise DeviceLostError(f"the device failed: {first_line(error)}") from error
                recover()
                raise
            log.warning("out of memory with %d pictures at once: %s", len(piece.prompts), first_line(error))
        # Only here, where the error is gone and with it the frames that hold on to the tensors of the call.
        recover()
        if frugal and len(piece.prompts) == 1:
            raise OutOfMemoryError("even one picture alone does not fit")
        frugal, at_once = True, max(1, len(piece.prompts) // 2)
    return pictures


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on whatever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _OUT_OF_MEMORY)


def is_device_lost(error: BaseException) -> bool:
    """Return whether an error says that the device failed, memory aside.

    After most of these (a failed assertion in a kernel, an illegal address, memory that ECC can't correct) every
    further call fails too. The few that do not stick can't be told from the others, and a new process is cheap.
    """
    if isinstance(error, torch.AcceleratorError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _DEVICE_LOST)


def release(pipeline: Any) -> None:
    """Give back what a call that was left half-way has left behind: memory, parts on the device, a VAE in float32."""
    vae: Any = getattr(pipeline, "vae", None)
    unet: Any = getattr(pipeline, "unet", None)
    # SDXL's VAE overflows in float16, so its pipelines decode in float32 and turn back only after that went well; from
    # then on they would hand it latents of the wrong type.
    if unet is not None and getattr(vae, "config", {}).get("force_upcast") and vae.dtype != unet.dtype:
        vae.to(dtype=unet.dtype)
    pipeline.maybe_free_model_hooks()
    gc.collect()
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message; PyTorch adds a page of advice."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"


def _piece(batch: Batch, *, start: int, size: int) -> Batch:
    """Return so many pictures of a batch, without previews unless it is the whole batch."""
    part = slice(start, start + size)
    if start == 0 and size >= len(batch.prompts):
        return batch
    return replace(
        batch,
        prompts=batch.prompts[part],
        negative_prompts=batch.negative_prompts and batch.negative_prompts[part],
        seeds=batch.seeds[part],
        preview_steps=(),
    )


def _progress(on_step: OnStep, finished: int, piece: Batch, batch: Batch) -> OnStep:
    """Return what tells `on_step` how far a batch is, of which a piece is being drawn after some finished pictures."""
    if piece is batch:
        return on_step

    def count(done: int, steps: int, _previews: Sequence[Picture]) -> None:
        on_step((finished * steps + len(piece.prompts) * done) // len(batch.prompts), steps, ())

    return count
