"""Which family the weights of a model are of, and what that family does well with.

The rules are those of stable-diffusion.cpp in stable-diffusion-cpp-python 0.4.7 (`ModelLoader::get_sd_version` in
`model.cpp`, and the constructors of the models), so that what is told here is what it will load. Where one of its
families is several models with other defaults, tensors tell them apart as far as they do. They can't tell variants
that were only trained further: FLUX.1 Kontext and Krea from dev, turbo and lightning variants from their base,
Qwen-Image-Edit from Qwen-Image. These get the values of that other model, FLUX.2 klein and Z-Image those of the
distilled variant, and the ImageModel names others.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from heliograph_runtime.engines.protocol import LoadError
from heliograph_runtime.engines.sdcpp import known
from heliograph_runtime.engines.sdcpp.known import Family
from heliograph_runtime.engines.sdcpp.tensors import Header, TensorInfo, quoted

__all__ = ["Family", "diffusion_tensors", "find_family", "holds_diffusion_alone"]

Tensors = Mapping[str, TensorInfo]

PREFIX = "model.diffusion_model."
_ANIMA_PREFIX = "net."
_CONTROL_NET = ("control_model.", "input_hint_block.", "controlnet_cond_embedding.")
_OTHER_PARTS = (
    "cond_stage_model.", "conditioner.", "text_encoders.", "text_encoder", "te.", "te1.", "te2.", "te3.",
    "first_stage_model.", "vae.", "tae.", "text_model.", "vision_model.", "encoder.", "decoder.", "enc.", "blk.",
    "model.", "model_ema.", "language_model.", "visual.", "v.", "mm.",
)  # fmt: skip
_TOKENS = (
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
    "cond_stage_model.model.token_embedding.weight",
    "te.text_model.embeddings.token_embedding.weight",
    "conditioner.embedders.0.model.token_embedding.weight",
    "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight",
)
"""The token embeddings by whose width stable-diffusion.cpp tells Stable Diffusion 1 and 2."""
_VERSIONS: Mapping[tuple[int, ...], int] = {(768,): 1, (1024,): 2}
_FLEX_2_CHANNELS = 196
_COSXL = "edm_vpred.sigma_max"
_SECOND_ENCODER = ("conditioner.embedders.1", "cond_stage_model.1", "te.1")
_MARKS: Mapping[str, Family] = {
    "transformer_blocks.0.img_mod.1.weight": known.QWEN_IMAGE,
    "llm_adapter.blocks.0.cross_attn.q_proj.weight": known.ANIMA,
    "cap_embedder.0.weight": known.Z_IMAGE,
    "layers.0.adaLN_sa_ln.weight": known.ERNIE_IMAGE,
    "nerf_final_layer_conv.": known.CHROMA_RADIANCE,
    "double_stream_modulation_img.lin.weight": known.FLUX2_KLEIN,
    "double_blocks.0.img_mlp.gate_proj.weight": known.OVIS_IMAGE,
    "distilled_guidance_layer.in_proj.weight": known.CHROMA,
}
"""Starts of names that one family alone has."""
_WAN_LAYERS = (30, 40)
_WAN_FLF2V_LAYERS = (40,)
_WAN_2_2_I2V_CHANNELS = 36 * 5120
_WAN_2_2_TI2V_CHANNELS = 48 * 3072
"""Input channels times width of the patch embedding: what stable-diffusion.cpp looks at."""


def find_family(headers: Sequence[Header], *, field: str = "parameters.model") -> Family:
    """Return the family of the model that files make up together.

    Args:
        headers: Headers of the main file and of those that options name.
        field: Field of the spec to blame.

    Raises:
        LoadError: Its tensors are of no family that stable-diffusion.cpp runs.
    """
    tensors: dict[str, TensorInfo] = {}
    for header in reversed(headers):
        tensors |= diffusion_tensors(header)
    family = _of_transformer(tensors, field) or _of_unet(tensors, [*headers], field)
    if family is not None:
        return family
    names = [name for header in headers for name in header.tensors]
    found = f"such as {quoted(next(iter(tensors or names)))}" if names else "none at all"
    raise LoadError(
        "UnknownFormat",
        f"{field}: the file holds tensors of no model that stable-diffusion.cpp runs ({found}); name the file of the "
        "diffusion model here and those of its other parts in options, or use backend diffusers",
    )


def holds_diffusion_alone(header: Header) -> bool:
    """Return whether a file has its diffusion model's tensors without their prefix.

    stable-diffusion.cpp then takes it as `diffusion_model_path`, and not as `model_path`.
    """
    return not any(name.startswith(PREFIX) for name in header.tensors) and bool(diffusion_tensors(header))


def diffusion_tensors(header: Header) -> dict[str, TensorInfo]:
    """Return the tensors of a file's diffusion model by their names without prefix, and none of other parts."""
    prefixed = {name.removeprefix(PREFIX): info for name, info in header.tensors.items() if name.startswith(PREFIX)}
    if prefixed:
        return prefixed
    if any(name.startswith(_CONTROL_NET) for name in header.tensors):
        return {}
    bare = {name: info for name, info in header.tensors.items() if not name.startswith(_OTHER_PARTS)}
    return {name.removeprefix(_ANIMA_PREFIX): info for name, info in bare.items()}


def _of_transformer(tensors: Tensors, field: str) -> Family | None:
    if _any(tensors, "joint_blocks."):
        return _of_joint_blocks(tensors)
    if "blocks.0.cross_attn.norm_k.weight" in tensors:
        return _of_wan(tensors, field)
    told = next((family for name, family in _MARKS.items() if _any(tensors, name)), None)
    if told is None and _any(tensors, "double_blocks."):
        return _of_flux(tensors, field)
    return known.FLUX2 if told is known.FLUX2_KLEIN and _any(tensors, "single_blocks.47.") else told


def _of_joint_blocks(tensors: Tensors) -> Family:
    if _any(tensors, "joint_blocks.37."):
        return known.SD35_LARGE
    attends_twice = _any(tensors, "joint_blocks.0.x_block.attn2.")
    return known.SD35_MEDIUM if attends_twice else known.SD3_MEDIUM


def _of_flux(tensors: Tensors, field: str) -> Family:
    channels = _shape(tensors, "img_in.weight")[-1:]
    if channels == (_FLEX_2_CHANNELS,):
        # It gives the model the control image alone, in place of a masked picture, a mask and that, and ends.
        raise _unserved("Flex.2", field)
    if channels and (family := known.FLUX_BY_CHANNELS.get(channels[0])):
        return family
    return known.FLUX_DEV if _any(tensors, "guidance_in.") else known.FLUX_SCHNELL


def _of_wan(tensors: Tensors, field: str) -> Family:
    layers = 1 + max(int(match[1]) for name in tensors if (match := re.match(r"blocks\.(\d{1,4})\.", name)))
    last_frame = "img_emb.emb_pos" in tensors
    known_layers = _WAN_FLF2V_LAYERS if last_frame else _WAN_LAYERS
    if layers not in known_layers:
        raise LoadError(
            "UnknownFormat",
            f"{field}: the file holds a Wan model of {layers} layers, and stable-diffusion.cpp runs those of "
            f"{' and '.join(map(str, known_layers))}; use backend diffusers",
        )
    if _any(tensors, "vace_blocks."):
        raise LoadError(
            "Unsupported",
            f"{field}: the file holds Wan VACE, which follows clips that no request can bring; use another Wan model",
        )
    channels = _shape(tensors, "patch_embedding.weight")[:2]
    size = channels[0] * channels[1] if len(channels) == 2 else 0
    if _any(tensors, "img_emb."):
        return known.WAN_FLF2V if last_frame else known.WAN_I2V
    if size == _WAN_2_2_TI2V_CHANNELS:
        return known.WAN_2_2_TI2V
    return known.WAN_2_2_I2V if size == _WAN_2_2_I2V_CHANNELS else known.WAN_T2V


def _of_unet(tensors: Tensors, headers: Iterable[Header], field: str) -> Family | None:
    if not _any(tensors, "input_blocks."):
        return None
    if "input_blocks.8.0.time_mixer.mix_factor" in tensors:
        raise _unserved("Stable Video Diffusion", field)
    texts = {name: info for header in headers for name, info in header.tensors.items() if not name.startswith(PREFIX)}
    channels = _shape(tensors, "input_blocks.0.0.weight")[1:2]
    if any(name.startswith(_SECOND_ENCODER) for name in texts):
        return _of_sdxl(tensors, channels, cosxl=_COSXL in texts, field=field)
    width = next((_shape(texts, name)[-1:] for name in _TOKENS if name in texts), ())
    if width == (1280,):
        raise _unserved("the refiner of Stable Diffusion XL", field)
    version = _VERSIONS.get(width)
    if version is None:
        raise LoadError(
            "UnknownFormat",
            f"{field}: the file holds a U-Net without its text encoder, by which stable-diffusion.cpp tells what it "
            "is; use a checkpoint that holds both",
        )
    return _of_old_unet(tensors, version, channels)


def _of_old_unet(tensors: Tensors, version: int, channels: tuple[int, ...]) -> Family:
    changed = known.UNETS_BY_CHANNELS.get((version, *channels))
    if changed is not None:
        return changed
    if _any(tensors, "middle_block.1."):
        return known.UNETS[version]
    attention = _shape(tensors, "output_blocks.7.1.transformer_blocks.0.attn1.to_k.weight")[-1:]
    one_step = attention == (1024,) if version == 2 else not _any(tensors, "output_blocks.7.1")
    return known.SDXS[version] if one_step else known.SMALL_UNETS[version]


def _of_sdxl(tensors: Tensors, channels: tuple[int, ...], *, cosxl: bool, field: str) -> Family:
    if channels == (9,):
        return known.SDXL_INPAINT
    if channels == (8,):
        if not cosxl:
            # It scales the latents of the picture, as CosXL Edit wants them; diffusers' training does not.
            raise _unserved("an InstructPix2Pix of Stable Diffusion XL other than CosXL Edit", field)
        return known.COSXL_EDIT
    if _any(tensors, "middle_block.1."):
        return known.SDXL
    return known.SSD_1B if _any(tensors, "output_blocks.3.1.transformer_blocks.1") else known.VEGA


def _unserved(title: str, field: str) -> LoadError:
    return LoadError(
        "UnknownFormat",
        f"{field}: the file holds {title}, which stable-diffusion.cpp does not run; use backend diffusers",
    )


def _any(tensors: Tensors, start: str) -> bool:
    return any(name.startswith(start) for name in tensors)


def _shape(tensors: Tensors, name: str) -> tuple[int, ...]:
    return tensors[name].shape if name in tensors else ()
