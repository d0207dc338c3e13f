import pytest

from heliograph_runtime.engines.diffusers.pipelines import find_pipeline
from heliograph_runtime.engines.protocol import LoadError


@pytest.mark.parametrize(
    ("pipeline_type", "named_by_files", "found"),
    [
        ("", "StableDiffusionPipeline", "StableDiffusionPipeline"),
        ("AutoPipelineForText2Image", "StableDiffusionXLPipeline", "StableDiffusionXLPipeline"),
        ("DiffusionPipeline", "SanaPipeline", "SanaPipeline"),
        ("stablediffusionpipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionPipeline"),
        ("", "StableDiffusionInpaintPipeline", "StableDiffusionPipeline"),
        ("", "FluxImg2ImgPipeline", "FluxPipeline"),
        ("Flux2Pipeline", "Flux2Pipeline", "Flux2Pipeline"),
    ],
)
def test_finds_the_pipeline_for_text(pipeline_type: str, named_by_files: str, found: str) -> None:
    assert find_pipeline(pipeline_type, named_by_files=named_by_files).__name__ == found


@pytest.mark.parametrize(
    ("pipeline_type", "reason", "remedy"),
    [
        ("StableDiffusionImg2ImgPipeline", "UnsupportedPipeline", "use StableDiffusionPipeline"),
        ("StableDiffusionControlNetPipeline", "UnsupportedPipeline", "use a text-to-image pipeline"),
        ("StableDiffusionDepth2ImgPipeline", "UnsupportedPipeline", "use a text-to-image pipeline"),
        ("StableVideoDiffusionPipeline", "UnsupportedPipeline", "use a text-to-image pipeline"),
        ("WanPipeline", "UnsupportedPipeline", "use a text-to-image pipeline"),
        ("VideoDiffusionPipeline", "UnknownPipeline", "such as StableDiffusionPipeline, or leave it out"),
        ("os", "UnknownPipeline", "leave it out"),
    ],
)
def test_refuses_what_does_not_draw_from_text(pipeline_type: str, reason: str, remedy: str) -> None:
    with pytest.raises(LoadError) as caught:
        find_pipeline(pipeline_type, named_by_files="StableDiffusionPipeline")

    assert caught.value.reason == reason
    assert remedy in caught.value.message
