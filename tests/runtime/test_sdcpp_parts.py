"""Parts of models, told from names and shapes as their makers' files have them; no weights."""

import pytest

from heliograph_runtime.engines.protocol import LoadError
from heliograph_runtime.engines.sdcpp import known
from heliograph_runtime.engines.sdcpp.families import find_family
from heliograph_runtime.engines.sdcpp.known import Family
from heliograph_runtime.engines.sdcpp.parts import absent_parts, check_parts, missing_parts, parts_of
from runtime.sdcpp_files import Shapes, header_of
from runtime.sdcpp_shapes import (
    CLIP_L,
    FLUX_ENCODERS,
    FLUX_VAE,
    GPUSTACK,
    GPUSTACK_INPAINTING,
    LLM,
    LLM_GGUF,
    SD2_CLIP,
    SD3_ENCODERS,
    T5,
    T5_GGUF,
    TAE,
    VAE,
    WAN_VAE,
    XL_CLIPS,
    XL_CLIPS_BOX,
    P,
    clip,
    flux,
    flux2,
    prefixed,
    sd3,
    unet,
)


@pytest.mark.parametrize(
    ("family", "files", "missing"),
    [
        (known.SD1, [{**prefixed(P, unet()), **CLIP_L, **VAE}], ()),
        (known.SD2, [{**prefixed(P, unet()), **SD2_CLIP, **VAE}], ()),
        (known.SDXL, [{**prefixed(P, unet()), **XL_CLIPS, **VAE}], ()),
        (known.SDXL, [{**prefixed(P, unet()), **XL_CLIPS_BOX}], ("vae",)),
        (known.SDXL, [{**prefixed(P, unet()), **XL_CLIPS}, FLUX_VAE], ()),
        (known.SD3_MEDIUM, [{**prefixed(P, sd3(24)), **SD3_ENCODERS, **VAE}], ()),
        (known.SD3_MEDIUM, [{**prefixed(P, sd3(24)), **VAE}], ("clip_l", "clip_g")),
        (known.SD3_MEDIUM, [{**prefixed(P, sd3(24)), **VAE}, clip(1280)], ("clip_l",)),
        (known.SD3_MEDIUM, [{**prefixed(P, sd3(24)), **VAE}, clip(1280), clip(768)], ()),
        (known.FLUX_DEV, [flux()], ("clip_l", "t5xxl", "vae")),
        (known.FLUX_DEV, [flux(), clip(768)], ("vae",)),
        (known.FLUX_DEV, [flux(), T5_GGUF, TAE], ()),
        (known.FLUX_DEV, [flux(), clip(768), T5, FLUX_VAE], ()),
        (known.FLUX_DEV, [{**prefixed(P, flux()), **FLUX_ENCODERS, **VAE}], ()),
        (known.CHROMA, [flux(), clip(768), FLUX_VAE], ("t5xxl",)),
        (known.CHROMA_RADIANCE, [flux(), T5], ()),
        (known.FLUX2, [flux2(48), FLUX_VAE], ("llm",)),
        (known.FLUX2, [flux2(48), LLM, FLUX_VAE], ()),
        (known.QWEN_IMAGE, [{}, LLM_GGUF, WAN_VAE], ()),
        (known.WAN_I2V, [{}, T5, WAN_VAE], ("clip_vision",)),
        (known.WAN_I2V, [{}, T5, WAN_VAE, {"vision_model.embeddings.class_embedding": (1280,)}], ()),
    ],
)
def test_parts_that_no_file_brings(family: Family, files: list[Shapes], missing: tuple[str, ...]) -> None:
    assert missing_parts(family, [header_of(shapes) for shapes in files]) == missing


def test_parts_that_a_model_could_do_without() -> None:
    headers = [header_of(flux()), header_of(clip(768)), header_of(FLUX_VAE)]

    assert missing_parts(known.FLUX_DEV, headers) == ()
    assert absent_parts(known.FLUX_DEV, headers) == ("t5xxl",)


def test_a_file_of_another_part_is_told() -> None:
    assert parts_of(header_of(T5_GGUF), known.FLUX_DEV) == {"t5xxl"}
    assert parts_of(header_of(clip(1280)), known.FLUX_DEV) == {"clip_g"}


def test_a_missing_text_encoder_is_refused_with_the_options_to_add() -> None:
    with pytest.raises(LoadError) as caught:
        check_parts(known.FLUX_DEV, [header_of(flux()), header_of(FLUX_VAE)])

    assert caught.value.reason == "WeightsMissing"
    assert caught.value.message == (
        "options: FLUX.1-dev needs clip_l, t5xxl, which no file brings; name files in clip_l_path, t5xxl_path"
    )
    check_parts(known.FLUX_DEV, [header_of(flux()), header_of(FLUX_VAE), header_of(T5)])


@pytest.mark.parametrize("model", [*GPUSTACK, *GPUSTACK_INPAINTING])
def test_the_files_of_gpustack_bring_all_parts_or_name_the_tensor_that_is_not_read(model: str) -> None:
    header = header_of((GPUSTACK | GPUSTACK_INPAINTING)[model][0])
    family = find_family([header])
    if family.backbone == "unet":
        check_parts(family, [header])
        return

    with pytest.raises(LoadError) as caught:
        check_parts(family, [header])

    assert "not 'cond_stage_model.transformer.text_model.embeddings.token_embedding.weight'" in caught.value.message
    assert "clip_l_path" in caught.value.message
    check_parts(family, [header, header_of(clip(768)), header_of(clip(1280)), header_of(T5)])
