"""Options for stable-diffusion.cpp: what of each is followed, and what becomes of the rest."""

import pytest

from heliograph_api.sdcpp_options import PLACEMENTS, REFUSED, Reading, placed_switches, read_option
from heliograph_api.sdcpp_table import OPTIONS, SWITCHES


def test_every_placement_is_equal_to_a_switch() -> None:
    switches = {switch for parts in PLACEMENTS.values() for switch in parts.values()}

    assert switches <= SWITCHES.keys()
    assert OPTIONS.keys() >= PLACEMENTS.keys()


@pytest.mark.parametrize("option", ["vae_path:a:b.gguf", "diffusion_model", "max_vram:0", "max_vram:much", "wtype:q9"])
def test_values_are_for_the_engine_to_judge(option: str) -> None:
    assert read_option(option) == Reading(option)


@pytest.mark.parametrize("option", ["stream_layers:false", "tae_preview_only:0", "vae_decode_only:false", "backend:"])
def test_what_changes_nothing_is_passed_over(option: str) -> None:
    assert read_option(option) == Reading(None)


def test_of_a_placement_the_cpu_s_part_is_kept() -> None:
    reading = read_option("backend: VAE=cpu, te = cpu,diffusion=cuda0")

    assert (reading.kept, reading.refused) == ("backend:vae=cpu,te=cpu", True)
    assert reading.lost.startswith("diffusion=cuda0 needs a newer stable-diffusion.cpp; ")
    assert placed_switches("backend:vae=cpu,te=cpu") == ["keep_vae_on_cpu", "keep_clip_on_cpu"]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_can_have_no_effect_is_refused_with_the_reason(name: str) -> None:
    assert read_option(f"{name}:true") == Reading(None, REFUSED[name], refused=True)


def test_a_negative_budget_is_lost_and_not_refused() -> None:
    reading = read_option("max_vram:-0.5")

    assert (reading.kept, reading.refused) == (None, False)
    assert reading.lost
