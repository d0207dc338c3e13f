"""What becomes of options for stable-diffusion.cpp, of which LocalAI takes some that cannot be followed here."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from heliograph_api.complaints import did_you_mean
from heliograph_api.sdcpp_table import OPTIONS

REFUSED: Mapping[str, str] = {
    "audio_vae_path": "sound is not drawn here",
    "embeddings_connectors_path": "LTX-2 needs a newer stable-diffusion.cpp",
    "photo_maker_path": "a request has no pictures of a person to give it",
    "pulid_weights_path": "PuLID needs a newer stable-diffusion.cpp",
    "rpc_servers": "it needs a newer stable-diffusion.cpp",
    "stream_layers": "it needs a newer stable-diffusion.cpp; max_vram and offload_params_to_cpu are there",
    "tae_preview_only": "unfinished pictures are shown without a VAE; leave taesd_path out",
    "uncond_diffusion_model_path": "Ideogram needs a newer stable-diffusion.cpp",
}
"""Options that LocalAI takes and that can have no effect here, with the reason."""

PLACEMENTS: Mapping[str, Mapping[str, str]] = {
    "backend": {
        "te=cpu": "keep_clip_on_cpu",
        "clip=cpu": "keep_clip_on_cpu",
        "vae=cpu": "keep_vae_on_cpu",
        "controlnet=cpu": "keep_control_net_on_cpu",
    },
    "params_backend": {"*=cpu": "offload_params_to_cpu", "cpu": "offload_params_to_cpu"},
}
"""What options may say of devices here, each with the switch that LocalAI documents as equal to it."""

_TRUE = frozenset({"true", "1"})
_FALSE = frozenset({"false", "0"})
_SWITCHES = frozenset({"stream_layers", "tae_preview_only"})


@dataclass(frozen=True)
class Reading:
    """What becomes of an option.

    Attributes:
        kept: What of it is followed; None for nothing.
        lost: Why the rest of it is not; empty when nothing is lost.
        refused: Whether the engine refuses it for that.
    """

    kept: str | None
    lost: str = ""
    refused: bool = False


def read_option(option: str) -> Reading:
    """Return what becomes of an entry `key:value`; values are looked at only where they decide it."""
    key, colon, value = (part.strip() for part in option.partition(":"))
    value = value if colon else "true"
    if key in _SWITCHES and value.lower() in _FALSE:
        return Reading(None)
    if key in PLACEMENTS:
        return _read_placement(key, value)
    if key == "max_vram":
        return _read_budget(option, value)
    if key == "vae_decode_only":
        ignored = "LocalAI ignores it too: the VAE is loaded whole, so that a request can bring pictures"
        return Reading(None, ignored if value.lower() in _TRUE else "")
    return Reading(option) if key in OPTIONS else Reading(None, REFUSED.get(key) or _unknown(key), refused=True)


def placed_switches(option: str) -> list[str]:
    """Return the switches that what is kept of an option of `PLACEMENTS` is equal to."""
    key, _, value = option.partition(":")
    return [PLACEMENTS[key][part] for part in _parts(value)]


def _read_placement(key: str, value: str) -> Reading:
    can_be = PLACEMENTS[key]
    parts = _parts(value)
    kept = [part for part in parts if part in can_be]
    entry = f"{key}:{','.join(kept)}" if kept else None
    rest = [part for part in parts if part not in can_be]
    if not rest:
        return Reading(entry)
    why = f"{', '.join(rest)} needs a newer stable-diffusion.cpp; {', '.join(can_be)} are there"
    return Reading(entry, why, refused=True)


def _read_budget(option: str, value: str) -> Reading:
    if "=" in value:
        why = "a budget for each device needs a newer stable-diffusion.cpp; one number is there, such as max_vram:8"
        return Reading(None, why, refused=True)
    try:
        budget = float(value)
    except ValueError:
        return Reading(option)
    if math.isfinite(budget) and budget < 0:
        why = "how much memory is free can't be told here; name the GiB to use, or offload_params_to_cpu"
        return Reading(None, f"{why}, where the model does not fit")
    return Reading(option)


def _unknown(key: str) -> str:
    near = did_you_mean(key, OPTIONS)
    return "stable-diffusion.cpp has no option of this name" + (f"; did you mean {near}?" if near else "")


def _parts(value: str) -> list[str]:
    return [part.replace(" ", "").lower() for part in value.split(",") if part.strip()]
