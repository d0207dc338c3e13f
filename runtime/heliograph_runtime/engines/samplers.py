"""Names of samplers, without the libraries that run them, so that the HTTP process can check a request.

The names are LocalAI's (docs of its diffusers backend): `k_` in front asks for Karras' noise levels. Other systems
spell them their own way (`dpm++2m`, `DPM++ 2M Karras`), so they are compared without case and punctuation.
"""

import re
from collections.abc import Iterable

SAMPLERS = (
    "ddim", "pndm", "heun", "unipc", "euler", "euler_a", "lms", "k_lms", "dpm_2", "k_dpm_2", "dpm_2_a", "k_dpm_2_a",
    "dpmpp_2m", "k_dpmpp_2m", "dpmpp_sde", "k_dpmpp_sde", "dpmpp_2m_sde", "k_dpmpp_2m_sde",
    "k_euler", "k_heun", "k_unipc",
)  # fmt: skip
"""LocalAI's documented names, then those that its `k_` prefix adds with an effect."""


def find_sampler(name: str, samplers: Iterable[str]) -> str | None:
    """Return the one of `samplers` that `name` means, or None."""
    wanted = _plain(name)
    return next((sampler for sampler in samplers if _plain(sampler) == wanted), None)


def _plain(name: str) -> str:
    """Return a spelling that is the same for all ways to write a name.

    LocalAI's own example says `k_dpp_sde`, for which its backend has no scheduler; `k_dpmpp_sde` is meant.
    """
    plain = re.sub(r"[^a-z0-9]", "", name.lower().replace("+", "p"))
    if plain.endswith("karras"):
        plain = "k" + plain.removesuffix("karras").removeprefix("k")
    plain = re.sub(r"^(k?)dpp(?=\d|sde)", r"\1dpmpp", plain)
    return re.sub(r"^(k?)eulerancestral$", r"\1eulera", plain)
