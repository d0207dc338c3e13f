"""Families of real shapes with stable-diffusion.cpp: told, drawn with, and in the memory that the estimate tells."""

from pathlib import Path
from typing import Any

import pytest

from heliograph_api.spec import parse_spec
from heliograph_runtime.engines.protocol import LoadError
from heliograph_runtime.engines.sdcpp.checking import check_model
from heliograph_runtime.engines.sdcpp.estimate import estimate
from runtime import miniature_sdcpp, miniature_sdcpp_sd3, miniature_sdcpp_unets
from runtime.sdcpp_library import ends
from runtime.sdcpp_measuring import measure

SD2: dict[str, Any] = {"backend": "sdcpp", "parameters": {"model": "sd2.gguf"}}
SD3: dict[str, Any] = {
    "backend": "sdcpp",
    "parameters": {"model": "sd3.gguf"},
    "options": ["clip_l_path:clip_l.safetensors", "clip_g_path:clip_g.gguf", "taesd_path:taesd3.safetensors"],
}
SIZE = 64


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    miniature_sdcpp_unets.save_sd2(folder / "sd2.gguf")
    miniature_sdcpp_sd3.save_sd3(folder / "sd3.gguf")
    miniature_sdcpp_sd3.save_clip_g(folder / "clip_g.gguf")
    miniature_sdcpp.save_clip(folder / "clip_l.safetensors")
    miniature_sdcpp.save_taesd(folder / "taesd3.safetensors", miniature_sdcpp_sd3.LATENT_CHANNELS)
    return folder


@pytest.mark.parametrize(("spec", "family"), [(SD2, "sd2"), (SD3, "sd3-medium")], ids=["sd2", "sd3"])
def test_it_draws_in_the_memory_that_the_estimate_tells(models: Path, spec: dict[str, Any], family: str) -> None:
    checked = check_model(parse_spec(spec), models_dir=models)
    told = estimate(checked.headers, checked.family, width=SIZE, height=SIZE)

    drawn = measure(spec, models, size=SIZE)

    assert checked.family.name == family
    assert drawn.size == (SIZE, SIZE)
    assert drawn.values > 20
    assert told.ram_bytes == pytest.approx(drawn.memory, rel=0.15)


@pytest.mark.parametrize(
    ("encoder", "missing"), [("clip_l_path:clip_l.safetensors", "clip_g"), ("clip_g_path:clip_g.gguf", "clip_l")]
)
def test_stable_diffusion_3_needs_both_clips(models: Path, encoder: str, missing: str) -> None:
    spec = {**SD3, "options": [encoder, "taesd_path:taesd3.safetensors"]}
    files = dict(option.split(":") for option in spec["options"]) | {"diffusion_model_path": "sd3.gguf"}

    assert ends({role: str(models / name) for role, name in files.items()} | {"n_threads": 2})
    with pytest.raises(LoadError) as caught:
        check_model(parse_spec(spec), models_dir=models)
    assert caught.value.message.startswith(f"options: Stable Diffusion 3 Medium needs {missing}, which no file brings")
