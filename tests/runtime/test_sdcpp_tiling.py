"""Tiles of the VAE: a size as LocalAI documents it cuts a picture into tiles of so many pixels."""

from typing import Any

import pytest
import yaml

from heliograph_api.spec import parse_spec
from heliograph_runtime.engines import container, make_engine
from heliograph_runtime.engines.protocol import Batch, Capabilities, Sampling
from heliograph_runtime.engines.sdcpp import known
from heliograph_runtime.engines.sdcpp.engine import SdcppEngine
from heliograph_runtime.engines.sdcpp.known import Family
from heliograph_runtime.engines.sdcpp.tiling import Tiling, read_tile_size
from runtime.runtimes import EXAMPLES

# Its VAE looks at what is around a place, so that tiles show.
SPEC: dict[str, Any] = yaml.safe_load((EXAMPLES / "tiny-flux.yaml").read_text())["spec"]


def load(*options: str) -> tuple[SdcppEngine, Capabilities]:
    engine = make_engine(spec := parse_spec({**SPEC, "options": [*SPEC["options"], *options]}))
    assert isinstance(engine, SdcppEngine)
    return engine, engine.load(spec, models_dir=EXAMPLES)


def drawn(*options: str) -> bytes:
    engine, _ = load(*options)
    batch = Batch(Sampling("text", 256, 256, steps=1, guidance_scale=1.0), ("a red circle",), None, (1,))
    (picture,) = engine.generate(batch, lambda *_: None)
    return picture.pixels


@pytest.mark.parametrize(
    ("option", "family", "latents", "pixels"),
    [
        ("512", known.FLUX_DEV, (64, 64), (512, 512)),
        ("512x384", known.FLUX_DEV, (64, 48), (512, 384)),
        ("128", known.SDXL, (16, 16), (128, 128)),
        ("256x64", known.SD1, (32, 8), (256, 64)),
        ("300x8", known.SD1, (37, 4), (296, 32)),
        ("127", known.SD1, (127, 127), (1016, 1016)),
        ("32x24", known.SD1, (32, 24), (256, 192)),
        ("512", known.FLUX2_KLEIN, (32, 32), (512, 512)),
        ("512x384", known.WAN_2_2_TI2V, (32, 24), (512, 384)),
        ("512", known.ERNIE_IMAGE, (32, 32), (512, 512)),
        ("32", known.FLUX2, (32, 32), (512, 512)),
    ],
)
def test_a_size_is_in_pixels_from_128_on(
    option: str, family: Family, latents: tuple[int, int], pixels: tuple[int, int]
) -> None:
    tiling = Tiling(read_tile_size(option), 0.5)

    assert tiling.latents(family.latent_pixels) == latents
    assert tiling.pixels(family.latent_pixels) == pixels


def test_without_a_size_tiles_are_the_library_s() -> None:
    assert Tiling(None, 0.5).pixels(8) == (256, 256)


@pytest.mark.parametrize("text", ["", "big", "0", "x", "512x", "512x0", "-512", "512x384x2", "70000"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - what it says is never shown
        read_tile_size(text)


def test_a_size_in_pixels_cuts_the_picture() -> None:
    whole, tiled = drawn(), drawn("vae_tile_size:128x192")

    assert tiled != whole
    assert tiled == drawn("vae_tile_size:16x24")
    assert drawn("vae_tile_size:256") == whole


def test_pictures_may_be_larger_where_the_vae_works_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "available_memory", lambda: 1 << 30)
    whole, small, large, own = (
        load(*options)[1].max_pixels or 0
        for options in ((), ("vae_tile_size:512",), ("vae_tile_size:512x2048",), ("vae_tiling",))
    )

    assert 0 < whole < large < small <= own
