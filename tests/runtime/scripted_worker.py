"""A worker process without a model, run as a program: its engine does what a prompt says.

It is the real worker in all else. What it can show, no real model does at will: to fail at one prompt, to run out of
memory, to lose its device.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from heliograph_api.spec import ImageModelSpec
from heliograph_runtime.engines.protocol import (
    Batch,
    Capabilities,
    DeviceLostError,
    DeviceMemory,
    Engine,
    ModeCapabilities,
    OnStep,
    OutOfMemoryError,
    Picture,
    RefusedError,
)
from heliograph_runtime.worker import __main__ as worker

ODD = "odd"
UNREADABLE = "unreadable"
HUGE = "huge"
LOST = "lost"
DEADLY = "deadly"
SHORT = "short"
SLOW = "slow"
IN_PARTS = "in parts"
STUBBORN = "slow and stubborn"


def _fail(error: Exception) -> None:
    raise error


_ACTS: dict[str, Callable[[], None]] = {
    ODD: lambda: _fail(ValueError("this prompt fails, whatever it is drawn with")),
    UNREADABLE: lambda: _fail(RefusedError("prompt", "is not one that this model reads; write another.")),
    HUGE: lambda: _fail(OutOfMemoryError()),
    LOST: lambda: _fail(DeviceLostError()),
    DEADLY: lambda: os.kill(os.getpid(), signal.SIGKILL),
}


class ScriptedEngine:
    """Takes its steps, then does what a prompt is known for, else returns pictures full of the seed.

    A prompt that starts with SLOW makes each step take a while; STUBBORN goes on to its end when it is to stop.
    IN_PARTS makes it tell of a step that is none of the whole batch, as the first of a part may be. Where there are
    input pictures, the first comes back with its bytes in reverse. SHORT makes it return one picture too few.
    """

    def load(self, spec: ImageModelSpec, *, models_dir: Path) -> Capabilities:  # noqa: ARG002 - the protocol's
        return Capabilities(
            family="Scripted",
            modes={
                "text": ModeCapabilities(pipeline="Scripted"),
                "image": ModeCapabilities(pipeline="Scripted", max_images=1, batches=False),
            },
            device="cpu",
            dtype="float32",
            width=8,
            height=8,
            size_multiple=8,
            max_pixels=None,
            samplers=(),
            schedules=(),
            max_clip_skip=None,
            max_steps=1000,
            steps=4,
            guidance_scale=None,
            distilled_guidance=False,
            true_cfg_scale=None,
            sampler=None,
            loras=(),
            previews=True,
            video=None,
        )

    def generate(self, batch: Batch, on_step: OnStep) -> list[Picture]:
        steps = batch.sampling.steps or 1
        stopped: Exception | None = None
        for done in range(IN_PARTS not in batch.prompts, steps + 1):
            if any(prompt.startswith(SLOW) for prompt in batch.prompts):
                time.sleep(0.02)
            try:
                on_step(done, steps, _pictures(batch, done) if done in batch.preview_steps else ())
            except Exception as error:
                if STUBBORN not in batch.prompts:
                    raise
                stopped = error
        if stopped:
            raise stopped
        for prompt in batch.prompts:
            if act := _ACTS.get(prompt):
                act()
        return _pictures(batch, 0)[SHORT in batch.prompts :]

    def memory(self) -> DeviceMemory | None:
        return DeviceMemory("Scripted GPU", 1, used=3 * 2**30, total=16 * 2**30)


def make_engine(_spec: ImageModelSpec) -> Engine:
    return ScriptedEngine()


def _pictures(batch: Batch, brightness: int) -> list[Picture]:
    sampling = batch.sampling
    if batch.inputs:
        raster = batch.inputs.images[0]
        return [Picture(raster.width, raster.height, raster.pixels[::-1]) for _ in batch.seeds]
    size = sampling.width * sampling.height * 3
    return [Picture(sampling.width, sampling.height, bytes([seed + brightness]) * size) for seed in batch.seeds]


if __name__ == "__main__":
    with patch.object(worker, "make_engine", make_engine):
        sys.exit(worker.main())
