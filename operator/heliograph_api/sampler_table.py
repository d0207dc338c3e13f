"""The table of samplers and schedules: every name that a source system documents, and what each engine makes of it.

Sources: LocalAI's diffusers backend (`backend/python/diffusers/backend.py`); stable-diffusion.cpp, whose names
LocalAI's stablediffusion-ggml backend, GPUStack and sd-api-server pass on; AUTOMATIC1111, whose names tools for its API
send.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class DiffusersScheduler:
    """How diffusers runs a sampler.

    Attributes:
        name: Class, made from the config of the model's own scheduler.
        settings: What is changed in that config.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        return f"{self.name}({settings})" if settings else self.name


@dataclass(frozen=True)
class Sampler:
    """One sampler.

    Attributes:
        name: Canonical name: LocalAI's where it has one, without the `k_` that asks for the schedule karras.
        localai: Whether LocalAI's diffusers backend has it.
        ggml: Its name in stable-diffusion.cpp, where that has it.
        a1111: Its name in AUTOMATIC1111, where that has it, without the schedule.
        others: Further spellings: ComfyUI's, and a slip in LocalAI's documentation.
        diffusers: How diffusers runs it on a model that predicts noise; None when it doesn't.
        flow: Class of diffusers that runs it on a flow-matching model; None when there is none.
        sdcpp: Its name in the engine sdcpp; None when that doesn't have it.
        fixed: Whether its formula leaves no choice of noise levels, and so none of a schedule.
    """

    name: str
    localai: bool = False
    ggml: str | None = None
    a1111: str | None = None
    others: tuple[str, ...] = ()
    diffusers: DiffusersScheduler | None = None
    flow: str | None = None
    sdcpp: str | None = None
    fixed: bool = False

    @property
    def spellings(self) -> tuple[str, ...]:
        """Return all names of the sampler, the canonical one first."""
        names = (self.name, self.ggml, self.a1111, *self.others)
        return tuple(dict.fromkeys(name for name in names if name))


@dataclass(frozen=True)
class Schedule:
    """One schedule.

    Attributes:
        name: Canonical name: stable-diffusion.cpp's.
        a1111: Its names in AUTOMATIC1111 and ComfyUI, where they have it.
        diffusers: Whether the engine diffusers has it for models that predict noise.
        flow: Whether that engine has it for flow-matching models.
        sdcpp: Whether the engine sdcpp has it.
    """

    name: str
    a1111: tuple[str, ...] = ()
    diffusers: bool = False
    flow: bool = False
    sdcpp: bool = False

    @property
    def spellings(self) -> tuple[str, ...]:
        """Return all names of the schedule, the canonical one first."""
        return (self.name, *self.a1111)


def _multistep(algorithm: str, **settings: Any) -> DiffusersScheduler:
    return DiffusersScheduler(
        "DPMSolverMultistepScheduler", {"algorithm_type": algorithm, "solver_order": 2} | settings
    )


_SINGLESTEP = DiffusersScheduler(
    "DPMSolverSinglestepScheduler", {"algorithm_type": "dpmsolver++", "solver_order": 2, "lower_order_final": True}
)
_TRAILING = DiffusersScheduler("DDIMScheduler", {"timestep_spacing": "trailing"})
_PLMS = DiffusersScheduler("PNDMScheduler", {"skip_prk_steps": True})

# The engine sdcpp is stable-diffusion-cpp-python 0.4.7. That its DDIM is the trailing one is how the server of
# stable-diffusion.cpp reads AUTOMATIC1111's name, too.
# fmt: off
SAMPLERS = (
    Sampler("ddim", True, None, "DDIM", diffusers=DiffusersScheduler("DDIMScheduler"), sdcpp="ddim_trailing"),
    Sampler("pndm", True, None, "PLMS", diffusers=_PLMS, fixed=True),
    Sampler("heun", True, "heun", "Heun", diffusers=DiffusersScheduler("HeunDiscreteScheduler"),
            flow="FlowMatchHeunDiscreteScheduler", sdcpp="heun"),
    Sampler("unipc", True, None, "UniPC", diffusers=DiffusersScheduler("UniPCMultistepScheduler")),
    Sampler("euler", True, "euler", "Euler", diffusers=DiffusersScheduler("EulerDiscreteScheduler"),
            flow="FlowMatchEulerDiscreteScheduler", sdcpp="euler"),
    Sampler("euler_a", True, "euler_a", "Euler a", ("euler_ancestral",),
            diffusers=DiffusersScheduler("EulerAncestralDiscreteScheduler"), sdcpp="euler_a"),
    Sampler("lms", True, "lms", "LMS", diffusers=DiffusersScheduler("LMSDiscreteScheduler")),
    Sampler("dpm_2", True, "dpm2", "DPM2", diffusers=DiffusersScheduler("KDPM2DiscreteScheduler"), sdcpp="dpm2"),
    Sampler("dpm_2_a", True, None, "DPM2 a", ("dpm_2_ancestral",),
            diffusers=DiffusersScheduler("KDPM2AncestralDiscreteScheduler")),
    Sampler("dpmpp_2m", True, "dpm++2m", "DPM++ 2M", diffusers=_multistep("dpmsolver++"), sdcpp="dpm++2m"),
    Sampler("dpmpp_sde", True, None, "DPM++ SDE", ("dpp_sde",), diffusers=_SINGLESTEP),
    Sampler("dpmpp_2m_sde", True, "dpm++2m_sde", "DPM++ 2M SDE", diffusers=_multistep("sde-dpmsolver++")),
    Sampler("dpmpp_2m_sde_heun", False, None, "DPM++ 2M SDE Heun",
            diffusers=_multistep("sde-dpmsolver++", solver_type="heun")),
    Sampler("dpmpp_2m_sde_bt", False, "dpm++2m_sde_bt"),
    Sampler("dpmpp_2mv2", False, "dpm++2mv2", sdcpp="dpm++2mv2"),
    Sampler("dpmpp_2s_a", False, "dpm++2s_a", "DPM++ 2S a", ("dpmpp_2s_ancestral",), sdcpp="dpm++2s_a"),
    Sampler("dpmpp_3m_sde", False, None, "DPM++ 3M SDE"),
    Sampler("ipndm", False, "ipndm", sdcpp="ipndm"),
    Sampler("ipndm_v", False, "ipndm_v", sdcpp="ipndm_v"),
    Sampler("lcm", False, "lcm", "LCM", diffusers=DiffusersScheduler("LCMScheduler"), sdcpp="lcm"),
    Sampler("ddim_trailing", False, "ddim_trailing", diffusers=_TRAILING, sdcpp="ddim_trailing"),
    Sampler("tcd", False, "tcd", diffusers=DiffusersScheduler("TCDScheduler"), sdcpp="tcd"),
    Sampler("res_multistep", False, "res_multistep", sdcpp="res_multistep"),
    Sampler("res_2s", False, "res_2s", sdcpp="res_2s"),
    Sampler("er_sde", False, "er_sde", sdcpp="er_sde"),
    Sampler("euler_cfg_pp", False, "euler_cfg_pp"),
    Sampler("euler_a_cfg_pp", False, "euler_a_cfg_pp"),
    Sampler("euler_ge", False, "euler_ge"),
    Sampler("ddim_cfg_pp", False, None, "DDIM CFG++"),
    Sampler("dpm_fast", False, None, "DPM fast"),
    Sampler("dpm_adaptive", False, None, "DPM adaptive"),
    Sampler("restart", False, None, "Restart"),
)
# fmt: on

SCHEDULES = (
    Schedule("discrete", ("Uniform", "Normal"), diffusers=True, flow=True, sdcpp=True),
    Schedule("karras", ("Karras",), diffusers=True, flow=True, sdcpp=True),
    Schedule("exponential", ("Exponential", "Polyexponential"), diffusers=True, flow=True, sdcpp=True),
    Schedule("ays", ("Align Your Steps",), diffusers=True, sdcpp=True),
    Schedule("gits", sdcpp=True),
    Schedule("sgm_uniform", ("SGM Uniform",), diffusers=True, flow=True, sdcpp=True),
    Schedule("simple", ("Simple",), diffusers=True, flow=True, sdcpp=True),
    Schedule("smoothstep", diffusers=True, flow=True, sdcpp=True),
    Schedule("kl_optimal", ("KL Optimal",), diffusers=True, sdcpp=True),
    Schedule("lcm", diffusers=True, flow=True, sdcpp=True),
    Schedule("bong_tangent", diffusers=True, sdcpp=True),
    Schedule("beta", ("Beta",), diffusers=True, flow=True),
    Schedule("ltx2"),
    Schedule("logit_normal"),
    Schedule("flux2"),
    Schedule("flux"),
)
