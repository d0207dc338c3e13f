import pytest

from heliograph_runtime.engines.diffusers.modes import exported, modes_of, relatives, with_control, without_control


@pytest.mark.parametrize(
    ("pipeline", "modes"),
    [
        ("StableDiffusionPipeline", ("text",)),
        ("StableDiffusionImg2ImgPipeline", ("image",)),
        ("StableDiffusionInpaintPipeline", ("inpaint",)),
        ("StableDiffusionDepth2ImgPipeline", ("image",)),
        ("StableDiffusionInstructPix2PixPipeline", ("image",)),
        ("StableDiffusionUpscalePipeline", ("upscale",)),
        ("StableDiffusionLatentUpscalePipeline", ("upscale",)),
        ("StableDiffusionControlNetPipeline", ("text",)),
        ("StableDiffusionControlNetImg2ImgPipeline", ("image",)),
        ("StableDiffusionXLControlNetInpaintPipeline", ("inpaint",)),
        ("FluxPipeline", ("text",)),
        ("FluxFillPipeline", ("inpaint",)),
        ("FluxControlPipeline", ("image",)),
        ("FluxControlNetPipeline", ("text",)),
        ("FluxKontextPipeline", ("text", "reference")),
        ("Flux2Pipeline", ("text", "reference")),
        ("QwenImageEditPipeline", ("reference",)),
        ("QwenImageEditPlusPipeline", ("reference",)),
        ("JoyImageEditPlusPipeline", ("reference",)),
        ("StableVideoDiffusionPipeline", ("image",)),
        ("TextToVideoSDPipeline", ("text",)),
        ("WanPipeline", ("text",)),
        ("WanImageToVideoPipeline", ("image",)),
        ("LTXImageToVideoPipeline", ("image",)),
        # What no request can give, or what is no picture.
        ("WanVideoToVideoPipeline", ()),
        ("KandinskyPipeline", ()),
        ("StableDiffusion3ControlNetInpaintingPipeline", ()),
        ("StableAudioPipeline", ()),
        ("MarigoldDepthPipeline", ()),
        ("DDPMPipeline", ()),
    ],
)
def test_reads_off_a_class_what_it_draws_from(pipeline: str, modes: tuple[str, ...]) -> None:
    assert modes_of(exported(pipeline)) == modes


@pytest.mark.parametrize(
    ("pipeline", "others"),
    [
        ("StableDiffusionPipeline", {"image": "StableDiffusionImg2ImgPipeline"}),
        ("StableDiffusionXLInpaintPipeline", {"text": "StableDiffusionXLPipeline"}),
        ("StableDiffusion3Pipeline", {"inpaint": "StableDiffusion3InpaintPipeline"}),
        ("FluxImg2ImgPipeline", {"text": "FluxPipeline", "inpaint": "FluxInpaintPipeline"}),
        ("FluxKontextPipeline", {"reference": "FluxKontextPipeline", "inpaint": "FluxKontextInpaintPipeline"}),
        ("QwenImageEditPipeline", {"inpaint": "QwenImageEditInpaintPipeline"}),
        ("ChromaPipeline", {"image": "ChromaImg2ImgPipeline"}),
        ("LTXPipeline", {"image": "LTXImageToVideoPipeline"}),
    ],
)
def test_finds_the_classes_that_draw_with_the_same_weights(pipeline: str, others: dict[str, str]) -> None:
    found = {mode: member.__name__ for mode, member in relatives(exported(pipeline)).items()}

    assert others.items() <= found.items()
    assert pipeline in found.values()


@pytest.mark.parametrize("pipeline", ["SanaPipeline", "StableVideoDiffusionPipeline", "FluxFillPipeline"])
def test_a_class_can_be_alone(pipeline: str) -> None:
    assert [member.__name__ for member in relatives(exported(pipeline)).values()] == [pipeline]


@pytest.mark.parametrize(
    ("plain", "union", "control"),
    [
        ("StableDiffusionPipeline", False, "StableDiffusionControlNetPipeline"),
        ("StableDiffusionXLImg2ImgPipeline", False, "StableDiffusionXLControlNetImg2ImgPipeline"),
        ("StableDiffusionXLInpaintPipeline", True, "StableDiffusionXLControlNetUnionInpaintPipeline"),
        ("StableDiffusion3Pipeline", False, "StableDiffusion3ControlNetPipeline"),
        ("FluxInpaintPipeline", False, "FluxControlNetInpaintPipeline"),
        ("QwenImagePipeline", False, "QwenImageControlNetPipeline"),
    ],
)
def test_finds_the_class_with_a_controlnet(plain: str, union: bool, control: str) -> None:
    found = with_control(exported(plain), union=union)

    assert found.__name__ == control
    assert without_control(found) is exported(plain)


@pytest.mark.parametrize("plain", ["StableDiffusion3InpaintPipeline", "StableDiffusionUpscalePipeline"])
def test_not_every_class_has_one_with_a_controlnet(plain: str) -> None:
    assert with_control(exported(plain), union=False) is None
