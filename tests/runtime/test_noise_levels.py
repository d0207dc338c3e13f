import numpy as np
import pytest
from diffusers import DDIMScheduler

from heliograph_api.sampler_table import SCHEDULES
from heliograph_runtime.engines.diffusers.following import training_levels
from heliograph_runtime.engines.diffusers.noise_levels import Array, levels, suits_ays, times, times_of

SCHEDULED = [row.name for row in SCHEDULES if row.diffusers and row.name != "discrete"]


def trained(beta_end: float) -> Array:
    scheduler = DDIMScheduler(  # type: ignore[no-untyped-call] # diffusers
        beta_start=0.00085, beta_end=beta_end, beta_schedule="scaled_linear"
    )
    return training_levels(scheduler)


@pytest.fixture(scope="module")
def training() -> Array:
    """Return the noise levels of Stable Diffusion."""
    return trained(0.012)


@pytest.mark.parametrize(
    ("schedule", "row"),
    [
        ("karras", [14.615, 7.094, 3.169, 1.274, 0.447, 0.13, 0.029]),
        ("exponential", [14.615, 5.186, 1.84, 0.653, 0.232, 0.082, 0.029]),
        ("kl_optimal", [14.615, 3.081, 1.597, 0.962, 0.573, 0.282, 0.029]),
        ("bong_tangent", [14.615, 13.996, 13.005, 11.206, 7.322, 2.95, 0.953]),
        ("sgm_uniform", [14.615, 6.678, 3.522, 2.061, 1.277, 0.791, 0.44]),
        ("simple", [14.615, 6.702, 3.528, 2.062, 1.276, 0.79, 0.438]),
        ("lcm", [14.615, 6.768, 3.601, 2.12, 1.323, 0.83, 0.476]),
        ("smoothstep", [14.615, 10.602, 5.134, 2.334, 1.138, 0.567, 0.238]),
        ("beta", [14.615, 9.701, 4.713, 2.268, 1.168, 0.613, 0.277]),
    ],
)
def test_a_row_is_that_of_stable_diffusion_cpp(training: Array, schedule: str, row: list[float]) -> None:
    """The rows are its formulas, worked out apart; it rounds some of them to whole times of the training."""
    assert levels(schedule, 7, training, xl=False) == pytest.approx(row, rel=0.006, abs=0.0005)


@pytest.mark.parametrize("schedule", SCHEDULED)
def test_the_levels_fall_from_the_highest_whatever_the_number_of_steps(training: Array, schedule: str) -> None:
    for steps in (1, 2, 3, 7, 20, 50, 51, 100, 999, 1000):
        row = levels(schedule, steps, training, xl=False).astype(np.float32)

        assert len(row) == steps
        assert row[0] == pytest.approx(training[-1], rel=1e-3)
        assert (np.diff(row) < 0).all()
        assert row[-1] > 0


@pytest.mark.parametrize("schedule", SCHEDULED)
def test_the_times_of_levels_are_those_that_the_model_was_trained_with(training: Array, schedule: str) -> None:
    row = levels(schedule, 30, training, xl=True)
    placed = times(schedule, 30, len(training))

    found = times_of(row, training)
    assert 0 <= found.min() < found.max() == pytest.approx(999, abs=0.01)
    if placed is not None:
        assert found == pytest.approx(placed)


def test_ays_is_for_models_with_the_levels_of_stable_diffusion(training: Array) -> None:
    assert suits_ays(training)
    assert not suits_ays(trained(0.02))
