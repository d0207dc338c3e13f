"""Compiling and attention kernels: when which is chosen, and that a CPU draws the same with them."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from heliograph_runtime.engines.diffusers import acceleration
from heliograph_runtime.engines.diffusers.acceleration import accelerate, choose_compile, set_attention, warm_up
from heliograph_runtime.engines.diffusers.placement import place
from heliograph_runtime.engines.protocol import Batch, Capabilities, LoadError, ModeCapabilities, OutOfMemoryError
from runtime import miniatures
from runtime.loaded import difference, draw, load, load_tiny

SWITCHES = ("cudnn", "mem_efficient", "flash", "math")


@pytest.fixture(scope="module")
def flux_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flux")
    miniatures.save_flux(folder)
    return folder


@pytest.fixture
def flux(flux_folder: Path) -> Any:
    pipeline = load("FluxPipeline", flux_folder)
    place(pipeline, device="cpu", strategy="resident")
    return pipeline


@pytest.fixture
def kernels() -> Iterator[None]:
    """Leaves PyTorch's switches as they were."""
    before = {name: getattr(torch.backends.cuda, f"{name}_sdp_enabled")() for name in SWITCHES}
    yield
    for name, on in before.items():
        getattr(torch.backends.cuda, f"enable_{name}_sdp")(on)


@pytest.fixture
def compiler() -> Iterator[None]:
    """Leaves the compiler's settings as they were."""
    settings: Any = torch.fx.experimental._config
    with torch._dynamo.config.patch(suppress_errors=False), settings.patch(use_duck_shape=True):
        yield
    torch._dynamo.reset()


H100 = (9, 0)
T4 = (7, 5)
RESIDENT: dict[str, Any] = {"device": "cuda", "strategy": "resident", "loras": False, "warms_up": True}


@pytest.mark.parametrize(
    ("wanted", "changes", "expected"),
    [
        (None, {}, "blocks"),
        (None, {"device": "cpu"}, "off"),
        (None, {"strategy": "parts"}, "off"),
        (None, {"strategy": "spread"}, "off"),
        (None, {"loras": True}, "off"),
        (None, {"warms_up": False}, "off"),
        (False, {}, "off"),
        (True, {}, "blocks"),
        (True, {"device": "cpu", "loras": True, "warms_up": False}, "blocks"),
    ],
)
def test_blocks_are_compiled_where_it_pays(
    monkeypatch: pytest.MonkeyPatch, flux: Any, wanted: bool | None, changes: dict[str, Any], expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: H100)

    assert choose_compile(wanted, flux, **RESIDENT | changes) == expected


def test_nothing_is_compiled_by_itself_for_an_old_gpu(monkeypatch: pytest.MonkeyPatch, flux: Any) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: T4)

    assert choose_compile(None, flux, **RESIDENT) == "off"
    assert choose_compile(True, flux, **RESIDENT) == "blocks"


@pytest.mark.parametrize(("wanted", "expected"), [(None, "off"), (True, "whole"), (False, "off")])
def test_a_unet_is_compiled_whole_and_only_if_asked_for(
    monkeypatch: pytest.MonkeyPatch, wanted: bool | None, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: H100)

    assert choose_compile(wanted, load_tiny(), **RESIDENT) == expected


@pytest.mark.parametrize(
    ("changes", "missing", "message"),
    [
        ({"strategy": "parts"}, "", "options: compile needs all weights on one device; remove it, low_vram"),
        ({"device": "mps"}, "", "options: compile does not work on mps"),
        ({}, "triton", "options: compile needs the Python package triton"),
        ({}, "cc", "options: compile needs a C compiler"),
    ],
)
def test_what_cannot_be_compiled_is_refused_if_asked_for_and_else_left_alone(
    monkeypatch: pytest.MonkeyPatch, flux: Any, changes: dict[str, Any], missing: str, message: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: H100)
    monkeypatch.setattr(acceleration, "find_spec", lambda name: None if name == missing else object())
    monkeypatch.setattr(shutil, "which", lambda name: None if missing == "cc" else f"/usr/bin/{name}")

    with pytest.raises(LoadError) as caught:
        choose_compile(True, flux, **RESIDENT | changes)
    assert caught.value.message.startswith(message)
    assert choose_compile(None, flux, **RESIDENT | changes) == "off"


@pytest.mark.usefixtures("compiler")
def test_compiled_blocks_draw_the_same_at_every_size_without_compiling_again(flux: Any) -> None:
    # Sizes whose tokens differ from one another, and both one picture and several.
    sizes = [{"width": 64, "height": 64}, {"width": 48, "height": 96}, {"width": 80, "height": 64, "pictures": 3}]
    before = [draw(flux, **size) for size in sizes]
    counters.clear()

    accelerate(flux, device="cpu", compiling="blocks")
    draw(flux)
    draw(flux, pictures=2)
    graphs = counters["stats"]["unique_graphs"]

    assert graphs > 0
    assert [difference(draw(flux, **size), picture) < 1e-4 for size, picture in zip(sizes, before, strict=True)]
    assert counters["stats"]["unique_graphs"] == graphs


def capabilities(*, text: bool) -> Capabilities:
    mode = ModeCapabilities("FluxPipeline")
    return Capabilities(
        family="Flux",
        modes={"text": mode} if text else {"reference": mode},
        device="cuda",
        dtype="bfloat16",
        width=1024,
        height=512,
        size_multiple=16,
        max_pixels=None,
        samplers=(),
        schedules=(),
        max_clip_skip=None,
        max_steps=1000,
        steps=28,
        guidance_scale=3.5,
        distilled_guidance=True,
        true_cfg_scale=1.0,
        sampler=None,
        loras=(),
        previews=False,
        video=None,
    )


def test_warming_up_draws_one_picture_and_then_two() -> None:
    drawn: list[Batch] = []

    warm_up(drawn.append, capabilities(text=True))
    warm_up(drawn.append, capabilities(text=False))

    assert [len(batch.prompts) for batch in drawn] == [len(batch.seeds) for batch in drawn] == [1, 2]
    assert {(batch.sampling.width, batch.sampling.height, batch.sampling.steps) for batch in drawn} == {(1024, 512, 2)}


def test_a_native_size_that_does_not_fit_does_not_keep_a_model_from_serving() -> None:
    def draw(_batch: Batch) -> None:
        raise OutOfMemoryError

    warm_up(draw, capabilities(text=True))


@pytest.mark.usefixtures("kernels")
def test_one_of_pytorchs_own_attention_kernels_is_used_by_every_family(flux: Any) -> None:
    for pipeline in (load_tiny(), flux):
        before = draw(pipeline)
        set_attention(pipeline, "_native_math")
        assert 0 < difference(draw(pipeline), before) < 1e-4
        set_attention(pipeline, "native")
        torch.backends.cuda.enable_flash_sdp(True)

    set_attention(flux, "_native_cudnn")
    assert [getattr(torch.backends.cuda, f"{name}_sdp_enabled")() for name in SWITCHES] == [True, False, False, True]


@pytest.mark.parametrize(
    ("family", "name", "reason", "message"),
    [
        ("flux", "best", "InvalidSpec", "options: attention must be one of"),
        ("flux", "flash_hub", "InvalidSpec", "options: attention must be one of"),
        ("flux", "sage", "LibraryMissing", "options: attention:sage can't be used here; install its package"),
        ("tiny", "sage", "Unsupported", "options: attention:sage has no effect on UNet2DConditionModel"),
    ],
)
def test_kernels_that_cannot_be_used_are_refused(flux: Any, family: str, name: str, reason: str, message: str) -> None:
    with pytest.raises(LoadError) as caught:
        set_attention(flux if family == "flux" else load_tiny(), name)

    assert caught.value.reason == reason
    assert caught.value.message.startswith(message)


def test_a_gpu_gets_the_layout_and_the_numbers_that_it_computes_convolutions_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", asked.append)
    pipeline = load_tiny()
    accelerate(pipeline, device="cpu", compiling="off")
    assert not asked

    pipeline.unet.to(torch.bfloat16)
    accelerate(pipeline, device="cuda", compiling="off")

    assert asked == ["high"]
    assert pipeline.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert not pipeline.vae.decoder.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
