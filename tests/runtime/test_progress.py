"""Progress of calls that tell nobody of their steps, told by their scheduler."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import diffusers
import pytest
import torch

from heliograph_runtime.engines.diffusers.progress import Progress
from heliograph_runtime.engines.protocol import Picture

# diffusers 0.42 and numpy 2.4
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


class SilentPipeline:
    """Goes through a scheduler's steps as the older pipelines with a strength do."""

    def __init__(self, scheduler: str) -> None:
        self.scheduler: Any = getattr(diffusers, scheduler)()

    def __call__(self, num_inference_steps: int, skipped: int) -> torch.Tensor:
        self.scheduler.set_timesteps(num_inference_steps)
        latents = torch.ones(1, 4, 2, 2)
        for timestep in self.scheduler.timesteps[skipped * self.scheduler.order :]:
            latents = self.scheduler.step(latents * 0.1, timestep, latents).prev_sample
        return latents


@pytest.mark.parametrize("scheduler", ["DDIMScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler"])
@pytest.mark.parametrize("skipped", [0, 3])
def test_steps_are_counted_from_where_the_call_begins(scheduler: str, skipped: int) -> None:
    told: list[tuple[int, int]] = []
    pipeline = SilentPipeline(scheduler)
    expected = deepcopy(pipeline)(8, skipped)

    with Progress(lambda done, of, _: told.append((done, of)), (), None).watching(pipeline) as arguments:
        drawn = pipeline(8, skipped, **arguments)

    assert told == [(step, 8 - skipped) for step in range(1, 9 - skipped)]
    assert torch.equal(drawn, expected)
    assert "step" not in vars(pipeline.scheduler)


def test_a_call_can_be_left_and_leaves_no_watch_behind() -> None:
    pipeline = SilentPipeline("DDIMScheduler")

    def leave(*_: object) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError), Progress(leave, (), None).watching(pipeline):
        pipeline(8, 0)

    assert "step" not in vars(pipeline.scheduler)


class TellingPipeline(SilentPipeline):
    """Calls back after each step, as the newer pipelines do."""

    def __call__(self, num_inference_steps: int, skipped: int = 0, callback_on_step_end: Any = None) -> torch.Tensor:
        for step in range(num_inference_steps - skipped):
            self.scheduler.set_timesteps(num_inference_steps)
            callback_on_step_end(self, step, None, {"latents": torch.ones(1)})
        return torch.ones(1)


def test_a_preview_that_fails_costs_the_previews_alone(caplog: pytest.LogCaptureFixture) -> None:
    told: list[tuple[int, int]] = []

    def show(_pipeline: Any, _latents: torch.Tensor) -> Sequence[Picture]:
        raise RuntimeError("no such decoder")

    def on_step(done: int, _of: int, previews: Sequence[Picture]) -> None:
        told.append((done, len(previews)))

    pipeline = TellingPipeline("DDIMScheduler")
    with Progress(on_step, (1, 2), show).watching(pipeline) as arguments:
        pipeline(3, **arguments)

    assert told == [(1, 0), (2, 0), (3, 0)]
    assert caplog.messages == ["TellingPipeline has no previews: RuntimeError: no such decoder"]
