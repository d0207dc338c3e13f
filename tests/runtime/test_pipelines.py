import logging

import pytest

from heliograph_runtime.engines.diffusers.pipelines import find_pipeline
from heliograph_runtime.engines.protocol import LoadError


@pytest.mark.parametrize(
    ("pipeline_type", "named_by_files", "found"),
    [
        ("", "StableDiffusionPipeline", "StableDiffusionPipeline"),
        ("", "StableDiffusionInpaintPipeline", "StableDiffusionInpaintPipeline"),
        ("AutoPipelineForText2Image", "StableDiffusionXLPipeline", "StableDiffusionXLPipeline"),
        ("autopipelinefortext2image", "StableDiffusionImg2ImgPipeline", "StableDiffusionImg2ImgPipeline"),
        ("AutoPipelineForInpainting", "FluxPipeline", "FluxPipeline"),
        ("DiffusionPipeline", "SanaPipeline", "SanaPipeline"),
        ("VideoDiffusionPipeline", "TextToVideoSDPipeline", "TextToVideoSDPipeline"),
        ("FluxTransformer2DModel", "FluxPipeline", "FluxPipeline"),
        ("stablediffusionpipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionPipeline"),
        ("StableDiffusionDepth2ImgPipeline", "StableDiffusionPipeline", "StableDiffusionDepth2ImgPipeline"),
        ("STABLEVIDEODIFFUSIONPIPELINE", "StableVideoDiffusionPipeline", "StableVideoDiffusionPipeline"),
        ("StableDiffusion3Pipeline", "StableDiffusion3Pipeline", "StableDiffusion3Pipeline"),
        ("Flux2Pipeline", "Flux2Pipeline", "Flux2Pipeline"),
        ("FluxKontextPipeline", "", "FluxKontextPipeline"),
    ],
)
def test_finds_the_pipeline(pipeline_type: str, named_by_files: str, found: str) -> None:
    assert find_pipeline(pipeline_type, named_by_files=named_by_files).__name__ == found


def test_the_class_of_localais_gallery_gives_way_to_the_one_that_the_weights_are_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = find_pipeline("QwenImageEditPipeline", named_by_files="QwenImageEditPlusPipeline")

    assert found.__name__ == "QwenImageEditPlusPipeline"
    assert caplog.record_tuples[0][1] == logging.WARNING


@pytest.mark.parametrize(
    ("pipeline_type", "named_by_files", "reason", "remedy"),
    [
        ("NothingPipeline", "FluxPipeline", "UnknownPipeline", "such as FluxPipeline, or leave it out"),
        ("os", "", "UnknownPipeline", "such as StableDiffusionPipeline, or leave it out"),
        ("", "NothingPipeline", "UnknownPipeline", "leave it out"),
        ("UNet2DConditionModel", "", "UnknownPipeline", "leave it out"),
        ("MarigoldDepthPipeline", "", "UnsupportedPipeline", "use a pipeline that draws from text or pictures"),
        ("DDPMPipeline", "", "UnsupportedPipeline", "use a pipeline that draws from text or pictures"),
        ("StableAudioPipeline", "", "UnsupportedPipeline", "use a pipeline that draws from text or pictures"),
    ],
)
def test_refuses_what_draws_nothing(pipeline_type: str, named_by_files: str, reason: str, remedy: str) -> None:
    with pytest.raises(LoadError) as caught:
        find_pipeline(pipeline_type, named_by_files=named_by_files)

    assert caught.value.reason == reason
    assert remedy in caught.value.message
