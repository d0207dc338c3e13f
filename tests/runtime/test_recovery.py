"""Memory that runs out and devices that fail: what is tried again, what is given up, and what is left afterwards."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from heliograph_runtime.engines.diffusers.placement import place
from heliograph_runtime.engines.diffusers.recovery import (
    draw_within_memory,
    is_device_lost,
    is_out_of_memory,
    release,
)
from heliograph_runtime.engines.protocol import (
    Batch,
    DeviceLostError,
    OnStep,
    OutOfMemoryError,
    Picture,
    Sampling,
)
from runtime import miniatures
from runtime.loaded import load
from runtime.runtimes import EXAMPLES

SAMPLING = Sampling("text", 64, 64, steps=4)
FOUR = Batch(SAMPLING, ("a", "b", "c", "d"), ("e", "f", "g", "h"), (1, 2, 3, 4), preview_steps=(2,))


class Device:
    """Draws as many pictures at once as fit; a picture's bytes are its prompts and seed."""

    def __init__(self, fits: int, *, frugally: int | None = None, error: BaseException | None = None) -> None:
        self.fits = fits
        self.frugally = fits if frugally is None else frugally
        self.error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.calls: list[tuple[int, bool]] = []
        self.recovered = 0

    def draw(self, batch: Batch, on_step: OnStep, frugal: bool) -> list[Picture]:
        self.calls.append((len(batch.prompts), frugal))
        for done in range(1, 5):
            on_step(done, 4, [Picture(1, 1, b"...")] * len(batch.prompts) if done in batch.preview_steps else ())
            if len(batch.prompts) > (self.frugally if frugal else self.fits):
                raise self.error
        negatives = batch.negative_prompts or ("",) * len(batch.prompts)
        drawn = zip(batch.prompts, negatives, batch.seeds, strict=True)
        return [Picture(1, 1, f"{prompt}{negative}{seed}".encode()) for prompt, negative, seed in drawn]

    def recover(self) -> None:
        self.recovered += 1

    def run(self, batch: Batch = FOUR, *, at_once: int = 4, on_step: OnStep = lambda *_: None) -> list[bytes]:
        drawn = draw_within_memory(self.draw, batch, on_step, at_once=at_once, recover=self.recover)
        return [picture.pixels for picture in drawn]


ALL = [b"ae1", b"bf2", b"cg3", b"dh4"]


@pytest.mark.parametrize(
    ("device", "at_once", "calls"),
    [
        (Device(4), 4, [(4, False)]),
        (Device(4), 3, [(3, False), (1, False)]),
        (Device(4), 1, [(1, False)] * 4),
        (Device(2), 4, [(4, False), (2, True), (2, True)]),
        (Device(1), 4, [(4, False), (2, True), *[(1, True)] * 4]),
        (Device(2, frugally=1), 3, [(3, False), *[(1, True)] * 4]),
        (Device(0, frugally=1), 1, [(1, False), *[(1, True)] * 4]),
        (Device(0, frugally=4), 4, [(4, False), (2, True), (2, True)]),
    ],
)
def test_a_batch_is_drawn_in_the_largest_pieces_that_fit(
    device: Device, at_once: int, calls: list[tuple[int, bool]]
) -> None:
    assert device.run(at_once=at_once) == ALL
    assert device.calls == calls
    assert device.recovered == sum(count > (device.frugally if frugal else device.fits) for count, frugal in calls)


def test_what_does_not_fit_alone_is_given_up() -> None:
    device = Device(0)

    with pytest.raises(OutOfMemoryError):
        device.run()
    assert device.calls == [(4, False), (2, True), (1, True)]
    assert device.recovered == 3

    device.fits = device.frugally = 4
    assert device.run() == ALL


def test_an_error_of_the_device_ends_it_at_once() -> None:
    device = Device(0, error=torch.AcceleratorError("CUDA error: an illegal memory access was encountered"))

    with pytest.raises(DeviceLostError, match="illegal memory access"):
        device.run()
    assert (len(device.calls), device.recovered) == (1, 0)


@pytest.mark.parametrize("error", [ValueError("no such sampler"), InterruptedError()])
def test_any_other_error_passes_and_leaves_nothing_behind(error: Exception) -> None:
    device = Device(0, error=error)

    with pytest.raises(type(error)):
        device.run()
    assert (len(device.calls), device.recovered) == (1, 1)


def test_progress_counts_the_whole_batch_and_shows_previews_of_a_whole_batch_only() -> None:
    def progress(device: Device, at_once: int) -> list[tuple[int, int, int]]:
        seen: list[tuple[int, int, int]] = []
        device.run(at_once=at_once, on_step=lambda done, of, previews: seen.append((done, of, len(previews))))
        return seen

    assert progress(Device(4), 4) == [(1, 4, 0), (2, 4, 4), (3, 4, 0), (4, 4, 0)]
    assert progress(Device(4), 3) == [(done, 4, 0) for done in (0, 1, 2, 3, 3, 3, 3, 4)]


def test_a_batch_without_negative_prompts_can_be_drawn_in_pieces() -> None:
    batch = Batch(SAMPLING, ("a", "b"), None, (1, 2))

    assert Device(1).run(batch, at_once=2) == [b"a1", b"b2"]


def cpu_allocation_error() -> RuntimeError:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    return caught.value


@pytest.mark.parametrize(
    ("error", "memory", "lost"),
    [
        (cpu_allocation_error(), True, False),
        (MemoryError(), True, False),
        (torch.OutOfMemoryError("CUDA out of memory"), True, False),
        (RuntimeError("MPS backend out of memory (MPS allocated: 17.03 GB)"), True, False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True, True),
        (torch.AcceleratorError("CUDA error: out of memory"), True, True),
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), False, True),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), False, True),
        (RuntimeError("HIP error: unspecified launch failure"), False, True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), False, True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"), False, False),
        (ValueError("out of memory"), False, False),
    ],
)
def test_errors_are_told_apart(error: Exception, memory: bool, lost: bool) -> None:
    assert (is_out_of_memory(error), is_device_lost(error)) == (memory, lost)


def test_memory_that_ran_out_is_no_lost_device() -> None:
    device = Device(1, error=torch.AcceleratorError("CUDA error: out of memory"))

    assert device.run() == ALL


@pytest.mark.filterwarnings("ignore:`upcast_vae`:FutureWarning", "ignore:__array__ implementation:DeprecationWarning")
def test_a_vae_that_an_error_left_in_full_precision_is_turned_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    miniatures.save_sdxl(tmp_path)
    pipeline = load("StableDiffusionXLPipeline", tmp_path, torch.float16)
    place(pipeline, device="cpu", strategy="resident")

    def draw() -> Any:
        generator = torch.Generator().manual_seed(1)
        return pipeline("a", width=64, height=64, num_inference_steps=1, generator=generator, output_type="np").images

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    before = draw()
    with monkeypatch.context() as patched:
        patched.setattr(pipeline.vae, "decode", fail)
        with pytest.raises(MemoryError):
            draw()
    assert pipeline.vae.dtype == torch.float32

    release(pipeline)

    assert np.array_equal(draw(), before)


def test_a_batch_that_does_not_fit_on_a_cpu_is_drawn_one_by_one_or_given_up() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-W", "ignore", Path(__file__).with_name("little_memory.py")),
            EXAMPLES / "tiny-model/model",
        ],
        # Freed tensors go back to the system at once, so that the limits mean the same in each run.
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},
        stdout=subprocess.PIPE,
        timeout=600,
        check=True,
    )

    assert json.loads(done.stdout) == [
        {"tried": [4, 2, 1], "outcome": "even one picture alone does not fit", "draws_as_before": True},
        {"tried": [4, 2, 1, 1, 1, 1], "outcome": "4 different pictures", "draws_as_before": True},
    ]
