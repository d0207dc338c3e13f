from typing import Any

import diffusers
import pytest

from heliograph_runtime.engines.diffusers.options import load_option, load_switch, pipeline_options
from heliograph_runtime.engines.protocol import LoadError


def read(*options: str, pipelines: tuple[str, ...] = ("StableDiffusionPipeline",)) -> dict[str, Any]:
    return pipeline_options(options, [getattr(diffusers, name) for name in pipelines])


@pytest.mark.parametrize(
    ("pipeline", "option", "value"),
    [
        ("StableDiffusionPipeline", "guidance_rescale:0.7", 0.7),
        ("StableDiffusionPipeline", " guidance_rescale : 1 ", 1.0),
        ("StableDiffusionPipeline", "eta:0", 0.0),
        ("StableDiffusionPipeline", "timesteps:999, 500,1", [999, 500, 1]),
        ("StableDiffusionPipeline", "sigmas:[14.6, 1, 0]", [14.6, 1.0, 0.0]),
        ("StableDiffusionXLPipeline", "original_size:1024,768", (1024, 768)),
        ("StableDiffusionXLPipeline", "denoising_end:0.8", 0.8),
        ("StableDiffusionXLPipeline", "denoising_end:none", None),
        ("StableDiffusionControlNetPipeline", "guess_mode:TRUE", True),
        ("StableDiffusionControlNetPipeline", "controlnet_conditioning_scale:0.5", 0.5),
        ("FluxPipeline", "true_cfg_scale:4.0", 4.0),
        ("FluxPipeline", "max_sequence_length:512", 512),
        ("FluxControlNetPipeline", "control_mode:3", 3),
        ("SanaPipeline", "complex_human_instruction:[]", []),
        ("SanaPipeline", 'complex_human_instruction:["Be brief: red", "or blue"]', ["Be brief: red", "or blue"]),
        ("SanaPipeline", "use_resolution_binning:true", True),
        ("StableVideoDiffusionPipeline", "motion_bucket_id:90", 90),
        ("StableVideoDiffusionPipeline", "decode_chunk_size:4", 4),
        ("LTXPipeline", "decode_timestep:0.05", 0.05),
        ("Lumina2Pipeline", "system_prompt:Draw it: now", "Draw it: now"),
    ],
)
def test_values_are_of_the_type_that_the_pipeline_takes(pipeline: str, option: str, value: object) -> None:
    (found,) = read(option, pipelines=(pipeline,)).values()

    assert found == value
    assert type(found) is type(value)


def test_what_one_of_the_pipelines_has_is_an_option() -> None:
    pipelines = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline")

    assert read("strength:0.5", "guidance_rescale:0.7", pipelines=pipelines) == {
        "strength": 0.5,
        "guidance_rescale": 0.7,
    }


def test_what_is_read_elsewhere_is_left_out() -> None:
    assert read("torch_dtype:bf16", "cfg_scale:6", "guidance_scale:2", "compile:false") == {}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "guidance_rescal:1",
            "options: guidance_rescal is no option of this pipeline; write guidance_rescale or guidance_scale, or",
        ),
        ("flow:3", "options: flow is no option of this pipeline; "),
        ("xyzzy", "options: xyzzy is no option of this pipeline; remove it, or correct its spelling"),
        ("num_images_per_prompt:2", "options: num_images_per_prompt is no option"),
        ("prompt_embeds:1", "options: prompt_embeds is no option"),
        ("negative_prompt:red", "options: negative_prompt is no option"),
        ("latents:1", "options: latents is no option"),
        ("generator:1", "options: generator is no option"),
        ("cross_attention_kwargs:1", "options: cross_attention_kwargs is no option"),
        ("return_dict:false", "options: return_dict is no option"),
        ("guidance_rescale:much", "options: guidance_rescale must be of type float, not 'much'"),
        ("timesteps:1,two", "options: timesteps must be of type list of int, not '1,two'"),
        ("timesteps:[[1]]", "options: timesteps must be of type list of int, not '[[1]]'"),
        ("guidance_rescale", "options: guidance_rescale must be of type float, not ''"),
    ],
)
def test_what_cannot_be_an_option_is_refused(option: str, message: str) -> None:
    with pytest.raises(LoadError) as caught:
        read(option)

    assert caught.value.reason == "InvalidSpec"
    assert caught.value.message.startswith(message)


def test_reads_an_option_of_loading() -> None:
    assert load_option(["torch_dtype : bf16", "a:b:c"], "torch_dtype") == "bf16"
    assert load_option(["a:1", "a:b:c"], "a") == "b:c"
    assert load_option(["a:1"], "b") is None
    assert load_switch(["compile:True"], "compile") is True
    assert load_switch([], "compile") is None
    with pytest.raises(LoadError, match="options: compile must be true or false, not 'yes'"):
        load_switch(["compile:yes"], "compile")
