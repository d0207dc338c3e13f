"""Every cell of the diffusers column of the table of samplers and schedules, run."""

from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from heliograph_api.errors import APIError
from heliograph_api.sampler_table import SAMPLERS, SCHEDULES
from heliograph_api.samplers import check_sampling
from heliograph_runtime.engines.diffusers.schedulers import make_scheduler, samplers_of, schedules_of
from runtime import miniature_flux, miniature_transformers
from runtime.gaussian_model import SPREAD, draw_flow_model, draw_noise_model
from runtime.runtimes import EXAMPLES

# diffusers 0.42 and numpy 2.4
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]

STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
NOISE_SAMPLERS = tuple(row.name for row in SAMPLERS if row.diffusers)
NOISE_SCHEDULES = tuple(row.name for row in SCHEDULES if row.diffusers)
FLOW_SAMPLERS = tuple(row.name for row in SAMPLERS if row.flow)
FLOW_SCHEDULES = tuple(row.name for row in SCHEDULES if row.flow)
# All are spaced evenly, and for some samplers from the same top.
EVEN = {"discrete", "sgm_uniform", "simple", "lcm"}


def new(name: str, **config: Any) -> Any:
    return getattr(diffusers, name)(**config)


def stable_diffusion(name: str = "PNDMScheduler", **config: Any) -> Any:
    return new(name, **STABLE_DIFFUSION | config)


@cache
def made(sampler: str, schedule: str | None) -> Any:
    """Return the scheduler for a Stable Diffusion; a number of steps is set anew for each use."""
    return make_scheduler(stable_diffusion(), sampler, schedule, xl=False)


def load(folder: Path) -> Any:
    pipeline: Any = diffusers.DiffusionPipeline
    pipeline = pipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def schedules_with(sampler: str, schedules: tuple[str, ...] = NOISE_SCHEDULES) -> list[str | None]:
    """Return the schedules that a sampler takes, as the HTTP process decides it, and that of the model."""
    taken: list[str | None] = [None]
    for schedule in schedules:
        try:
            check_sampling(sampler, schedule, samplers=[sampler], schedules=schedules)
        except APIError:
            continue
        taken.append(schedule)
    return taken


def is_a_picture(pixels: Any) -> bool:
    return bool(np.isfinite(pixels).all() and np.std(pixels) > 0.02)


@pytest.fixture(scope="module")
def tiny() -> Any:
    return load(EXAMPLES / "tiny-model/model")


@pytest.fixture(scope="module")
def tiny_image(tiny: Any) -> Any:
    pipeline = new("StableDiffusionImg2ImgPipeline", **tiny.components)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def own(tiny: Any) -> Any:
    """Return the tiny model's own scheduler, which a test puts another in the place of."""
    return tiny.scheduler


@pytest.mark.parametrize("sampler", NOISE_SAMPLERS)
def test_every_sampler_draws_with_every_schedule(tiny: Any, own: Any, sampler: str) -> None:
    likened = stable_diffusion("DDIMScheduler", prediction_type="v_prediction")  # AYS is for its levels alone
    assert {*schedules_of(own), "ays"} == {*NOISE_SCHEDULES} == {*schedules_of(likened)}

    for schedule in schedules_with(sampler):
        tiny.scheduler = make_scheduler(likened if schedule == "ays" else own, sampler, schedule, xl=False)
        (pixels,) = tiny(
            "a red circle",
            width=64,
            height=64,
            num_inference_steps=2,
            guidance_scale=1.0,
            generator=torch.Generator().manual_seed(1),
            output_type="np",
        ).images
        assert is_a_picture(pixels), schedule


@pytest.mark.parametrize("sampler", NOISE_SAMPLERS)
def test_every_sampler_changes_a_picture(tiny_image: Any, own: Any, sampler: str) -> None:
    tiny_image.scheduler = make_scheduler(own, sampler, schedules_with(sampler)[-1], xl=False)
    before = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)

    little, much = (
        tiny_image(
            "a red circle",
            image=before,
            strength=strength,
            num_inference_steps=10,
            guidance_scale=1.0,
            generator=torch.Generator().manual_seed(1),
            output_type="pt",
        ).images.numpy()
        for strength in (0.1, 0.9)
    )
    changes = [np.abs(pixels - before.numpy()).mean() for pixels in (little, much)]

    assert is_a_picture(much)
    assert changes[0] < changes[1], changes


@pytest.mark.parametrize("sampler", NOISE_SAMPLERS)
def test_every_schedule_is_another_row_of_noise_levels(sampler: str) -> None:
    rows = {}
    for schedule in schedules_with(sampler)[1:]:
        scheduler = made(sampler, schedule)
        scheduler.set_timesteps(8)
        rows[schedule] = scheduler.timesteps.float().numpy()

    alike = {name for pair in combinations(rows, 2) if np.abs(rows[pair[0]] - rows[pair[1]]).max() < 1 for name in pair}

    assert alike <= EVEN


@pytest.mark.parametrize("sampler", NOISE_SAMPLERS)
def test_every_sampler_nears_the_right_answer(sampler: str) -> None:
    """A step too many or too few, or levels that the model is not asked about, leave far too much or too little."""
    drawn = {schedule: draw_noise_model(made(sampler, schedule), 20) for schedule in schedules_with(sampler)}
    spreads = {schedule: float(pixels.std()) for schedule, pixels in drawn.items()}

    assert all(0.27 < spread < 0.65 for spread in spreads.values()), spreads


@pytest.mark.parametrize("sampler", ["heun", "unipc", "lms", "dpm_2", "dpm_2_a", "dpmpp_2m", "dpmpp_sde"])
@pytest.mark.parametrize("schedule", ["karras", "ays", "smoothstep"])
def test_samplers_of_higher_order_reach_the_right_answer(sampler: str, schedule: str) -> None:
    assert float(draw_noise_model(made(sampler, schedule), 50).std()) == pytest.approx(SPREAD, abs=0.03)


@pytest.mark.parametrize("sampler", NOISE_SAMPLERS)
def test_few_steps_are_enough(sampler: str) -> None:
    for schedule in schedules_with(sampler):
        for steps in (1, 2, 3):
            assert torch.isfinite(draw_noise_model(made(sampler, schedule), steps)).all(), (schedule, steps)


@pytest.mark.parametrize("sampler", NOISE_SAMPLERS)
def test_any_number_of_steps_is_that_number_of_steps(sampler: str) -> None:
    of_second_order = sampler in {"heun", "dpm_2", "dpm_2_a"}
    for schedule in schedules_with(sampler):
        for steps in (51, 61, 999):
            scheduler = made(sampler, schedule)
            scheduler.set_timesteps(steps)
            times = scheduler.timesteps.float()
            asked = times[1::2] if of_second_order else times

            assert len(times) == (2 * steps - 1 if of_second_order else steps + (sampler == "pndm"))
            assert 0 <= times.min() <= times.max() <= 999
            assert (asked.diff() <= 0).all(), (schedule, steps)


@pytest.mark.parametrize(
    ("sampler", "schedule", "steps"),
    [
        ("ddim_trailing", None, 61),  # diffusers adds a step at time -1
        ("tcd", "smoothstep", 100),  # the first time is there twice
        ("lcm", None, 60),  # more steps than the teacher had
    ],
)
def test_no_step_is_left_out_or_added(sampler: str, schedule: str | None, steps: int) -> None:
    assert 0.3 < float(draw_noise_model(made(sampler, schedule), steps).std()) < 0.55


@pytest.mark.parametrize("sampler", ["lcm", "tcd"])
def test_a_strength_leaves_the_last_steps(sampler: str) -> None:
    whole, half = (make_scheduler(stable_diffusion(), sampler, None, xl=False) for _ in range(2))
    whole.set_timesteps(8)
    half.set_timesteps(8, strength=0.5)

    assert half.timesteps.tolist() == whole.timesteps.tolist()[4:]
    assert half.num_inference_steps == 4


def test_the_steps_of_a_latent_consistency_models_teacher_count() -> None:
    told, named = (
        make_scheduler(stable_diffusion("LCMScheduler", original_inference_steps=steps), None, None, xl=False)
        for steps in (50, 20)
    )
    told.set_timesteps(3, original_inference_steps=20)
    named.set_timesteps(3)

    assert told.timesteps.tolist() == named.timesteps.tolist() == [999, 699, 349]


def test_xl_models_have_measured_levels_of_their_own() -> None:
    levels = []
    for xl in (False, True):
        scheduler = make_scheduler(stable_diffusion(), "euler", "ays", xl=xl)
        scheduler.set_timesteps(10)
        levels.append([round(level, 3) for level in scheduler.sigmas.tolist()])

    assert levels == [
        [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.0],
        [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.0],
    ]


def test_the_models_own_is_kept_but_not_shared() -> None:
    own = stable_diffusion("DPMSolverMultistepScheduler", use_karras_sigmas=True, timestep_spacing="trailing")
    before = dict(own.config)

    first, second = make_scheduler(own, None, None, xl=False), make_scheduler(own, None, None, xl=False)
    make_scheduler(own, "euler", "beta", xl=True)

    assert first is not second
    assert type(first) is type(own)
    assert dict(first.config) == before == dict(own.config)


@pytest.mark.parametrize("sampler", [None, "euler", "dpmpp_2m"])
def test_discrete_takes_away_the_models_own_schedule(sampler: str | None) -> None:
    own = stable_diffusion("EulerDiscreteScheduler", use_karras_sigmas=True)

    assert make_scheduler(own, sampler, None, xl=False).config.use_karras_sigmas
    assert not make_scheduler(own, sampler, "discrete", xl=False).config.use_karras_sigmas


@pytest.mark.parametrize("name", ["PNDMScheduler", "DDPMScheduler", "DDIMScheduler", "DEISMultistepScheduler"])
def test_eulers_steps_stand_in_where_the_models_own_sampler_has_fixed_levels(name: str) -> None:
    scheduler = make_scheduler(stable_diffusion(name), None, "karras", xl=False)

    assert type(scheduler) is diffusers.EulerDiscreteScheduler


@pytest.mark.parametrize("schedule", ["karras", "simple", "bong_tangent"])
@pytest.mark.parametrize("sampler", ["ddim", "euler", "euler_a", "dpmpp_2m", "unipc", "lcm", "tcd"])
def test_betas_rescaled_to_end_in_noise_alone_have_levels_too(sampler: str, schedule: str) -> None:
    own = stable_diffusion("DDIMScheduler", rescale_betas_zero_snr=True, timestep_spacing="trailing")
    assert "ays" not in schedules_of(own)

    scheduler = make_scheduler(own, sampler, schedule, xl=False)
    scheduler.set_timesteps(10)

    assert scheduler.timesteps[0] == pytest.approx(999)
    assert torch.isfinite(scheduler.timesteps).all()
    assert torch.isfinite(getattr(scheduler, "sigmas", scheduler.timesteps)).all()


FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}


@pytest.mark.parametrize(
    ("name", "config", "samplers", "schedules"),
    [
        ("DPMSolverMultistepScheduler", STABLE_DIFFUSION, NOISE_SAMPLERS, NOISE_SCHEDULES),
        ("LCMScheduler", STABLE_DIFFUSION, ("lcm",), NOISE_SCHEDULES),
        ("EulerDiscreteScheduler", STABLE_DIFFUSION | {"timestep_type": "continuous"}, ("euler",), ()),
        ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}, FLOW_SAMPLERS, FLOW_SCHEDULES),
        ("FlowMatchEulerDiscreteScheduler", {"invert_sigmas": True}, ("euler",), ()),
        ("DPMSolverMultistepScheduler", FLOW, ("dpmpp_2m",), ()),
        ("UniPCMultistepScheduler", FLOW, ("unipc",), ()),
        ("CogVideoXDDIMScheduler", {}, (), ()),
        ("EDMEulerScheduler", {}, (), ()),
        ("SCMScheduler", {}, (), ()),
    ],
    ids=[
        "any that predicts noise", "distilled", "video", "flow", "inverted flow", "Sana", "Wan", "CogVideoX", "EDM",
        "Sana Sprint",
    ],
)  # fmt: skip
def test_a_model_has_what_its_own_scheduler_can_be_exchanged_for(
    name: str, config: dict[str, Any], samplers: tuple[str, ...], schedules: tuple[str, ...]
) -> None:
    own = new(name, **config)

    assert samplers_of(own) == samplers
    assert schedules_of(own) == schedules
    for sampler in (None, *samplers[:1]):
        made = make_scheduler(own, sampler, None, xl=False)
        assert made is not own
        assert samplers == NOISE_SAMPLERS or type(made).__name__ in {name, "FlowMatchHeunDiscreteScheduler"}


@pytest.fixture(scope="module", params=["flux", "sd3"])
def flow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    {"flux": miniature_flux.save_flux, "sd3": miniature_transformers.save_sd3}[request.param](folder)
    return load(folder)


@pytest.mark.parametrize("sampler", FLOW_SAMPLERS)
def test_every_sampler_of_flow_matching_draws_with_every_schedule(flow: Any, sampler: str) -> None:
    own = flow.scheduler
    drawn = {}
    for schedule in schedules_with(sampler, FLOW_SCHEDULES):
        flow.scheduler = make_scheduler(own, sampler, schedule, xl=False)
        (pixels,) = flow(
            "a red circle",
            width=32,
            height=32,
            num_inference_steps=3,
            generator=torch.Generator().manual_seed(1),
            output_type="np",
        ).images
        assert is_a_picture(pixels), schedule
        drawn[schedule] = pixels
    flow.scheduler = own

    assert not np.array_equal(drawn["karras"], drawn["discrete"])
    assert not np.array_equal(drawn["beta"], drawn["discrete"])


@pytest.mark.parametrize("mu", [None, 0.8], ids=["shifted", "shifted by size"])
@pytest.mark.parametrize("schedule", [None, *FLOW_SCHEDULES])
@pytest.mark.parametrize("sampler", FLOW_SAMPLERS)
def test_every_sampler_of_flow_matching_nears_the_right_answer(
    sampler: str, schedule: str | None, mu: float | None
) -> None:
    own = new("FlowMatchEulerDiscreteScheduler", shift=3.0, use_dynamic_shifting=mu is not None)
    scheduler = make_scheduler(own, sampler, schedule, xl=False)

    spreads = [float(draw_flow_model(scheduler, steps, mu=mu).std()) for steps in (1, 2, 20)]

    assert np.isfinite(spreads).all()
    assert spreads[-1] == pytest.approx(SPREAD, abs=0.04 if sampler == "heun" else 0.1)
    assert len(scheduler.timesteps) == (39 if sampler == "heun" else 20)
    assert scheduler.config.use_dynamic_shifting == own.config.use_dynamic_shifting  # pipelines read it
