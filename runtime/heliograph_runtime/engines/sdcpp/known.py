"""The families that stable-diffusion.cpp runs: their defaults and what they need.

Sources of the defaults: llama-box, the server that GPUStack runs, for Stable Diffusion 1 to 3.5 and FLUX.1-dev (with
stable-diffusion.cpp's own guidance); `docs/` of stable-diffusion.cpp for FLUX.1-schnell and all later ones; the model
cards for the steps of the distilled Z-Image, for FLUX.1's Fill and control models and for the frames a second of Wan;
diffusers' pipelines for the scales of InstructPix2Pix and CosXL Edit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Part = Literal["clip_l", "clip_g", "t5xxl", "llm", "vae", "clip_vision"]
"""What a family needs beside its diffusion model. Stable Diffusion 2's one text encoder stands for clip_l."""
Backbone = Literal["unet", "mmdit", "flux", "transformer"]
"""How a diffusion model is built, as far as its memory goes."""
Generation = Literal["sd1", "sd2", "sdxl"]
"""The Stable Diffusion by whose rules the library reads a U-Net and its text encoders (`sd_version_is_sd1` and the
like in `model.h`), whatever the size of the U-Net."""
Input = Literal["references", "control_image"]
"""The field of an order by which a diffusion model gets the picture that it reads beside the one that it draws."""


EDITOR_MARK = "__index_timestep_zero__"
"""The tensor by which stable-diffusion.cpp tells Qwen-Image-Edit-2511, in files that were made for ComfyUI."""
_CLIP_STOPS: Mapping[Generation, int] = {"sd1": 1, "sd2": 2, "sdxl": 2}
_INVERSION_WIDTHS: Mapping[Generation, int] = {"sd1": 768, "sd2": 1024}


@dataclass(frozen=True)
class Defaults:
    """Values where neither the request nor the ImageModel says.

    Attributes:
        steps: Inference steps.
        cfg_scale: Classifier-free guidance scale; at 1 negative prompts have no effect.
        guidance: The guidance that the model was distilled with; None for one that has none.
        sampler: Sampler, by its name in `heliograph_api.sampler_table`.
        width: Width in pixels.
        height: Height in pixels.
        image_scale: Guidance scale for the picture that the model reads; None where there is the one scale.
    """

    steps: int
    cfg_scale: float
    guidance: float | None = None
    sampler: str = "euler"
    width: int = 1024
    height: int = 1024
    image_scale: float | None = None


@dataclass(frozen=True)
class Clips:
    """What holds for the clips of a family.

    Attributes:
        modes: From what they are drawn.
        last_image: Whether the last frame can be given.
        frames: Frames where nothing names a number.
        fps: Frames for each second where nothing names a number.
        side_multiple: Pixels that sides must be a multiple of.
        high_noise: The noise level down to which the model for high noise draws, where there is one.
    """

    modes: tuple[Literal["text", "image"], ...] = ("text",)
    last_image: bool = False
    frames: int = 33
    fps: int = 16
    side_multiple: int = 16
    high_noise: float = 0.875


@dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes:
        name: Its name for machines.
        title: What people call it.
        defaults: What it does well with.
        backbone: How its diffusion model is built.
        needs: The parts that it was trained with, beside the diffusion model.
        enough: Text encoders that it runs with, if less true to the prompt than with all: any of these groups. With
            none, it needs all.
        inpaints: Whether the diffusion model takes a mask itself.
        follows: How the diffusion model gets a picture of which it draws a variant; None for one that needs none.
        clips: What holds for its clips; None where it draws pictures.
        generation: The Stable Diffusion that it is a U-Net of; None for other models.
        has_control_nets: Whether the library runs ControlNets with it. They are as deep as the whole U-Net: with a
            smaller one it ends the process.
        latent_pixels: Pixels along the side of a place of the latents (`get_scale_factor` in `vae.hpp`).
        references: Whether it can see pictures beside the one that it draws: `first`, it was trained with them from the
            start, so that a picture to change is one; `also`, weights of it may have been, which no tensor tells.
        editor_word: What the name of a file has whose weights were trained with such pictures alone.
    """

    name: str
    title: str
    defaults: Defaults
    backbone: Backbone
    needs: tuple[Part, ...]
    enough: tuple[tuple[Part, ...], ...] = ()
    inpaints: bool = False
    follows: Input | None = None
    clips: Clips | None = None
    generation: Generation | None = None
    has_control_nets: bool = False
    latent_pixels: int = 8
    references: Literal["first", "also"] | None = None
    editor_word: str | None = None

    @property
    def clip_stop(self) -> int | None:
        """Return the layer of CLIP that it stops at, counted from the last one; None where CLIP is not alone."""
        return _CLIP_STOPS[self.generation] if self.generation else None

    @property
    def has_align_your_steps(self) -> bool:
        """Return whether that schedule was worked out for it; with others the library says so, and draws nothing."""
        return self.generation in {"sd1", "sdxl"}

    @property
    def inversion_width(self) -> int | None:
        """Return the width of textual inversions; None where none are read: for XL's two encoders it mixes them up."""
        return _INVERSION_WIDTHS.get(self.generation) if self.generation else None

    @property
    def needs_picture(self) -> bool:
        """Return whether it draws nothing from text alone."""
        from_text = self.clips is None or "text" in self.clips.modes
        return self.inpaints or self.follows is not None or not from_text


def _inpainting(family: Family) -> Family:
    """Return a family's variant for inpainting, to which llama-box gives 50 steps."""
    return replace(
        family,
        name=f"{family.name}-inpaint",
        title=f"{family.title} inpainting",
        defaults=replace(family.defaults, steps=50),
        inpaints=True,
    )


def _editing(family: Family, *, name: str, title: str, cfg_scale: float) -> Family:
    """Return a family's variant that changes a picture as the prompt says, and has a scale for either."""
    defaults = replace(family.defaults, cfg_scale=cfg_scale, image_scale=1.5)
    return replace(family, name=name, title=title, defaults=defaults, follows="references")


_OLD = Defaults(steps=20, cfg_scale=9.0, sampler="euler_a", width=512, height=512)
SD1 = Family("sd1", "Stable Diffusion 1", _OLD, "unet", ("clip_l", "vae"), generation="sd1", has_control_nets=True)
SD2 = replace(SD1, name="sd2", title="Stable Diffusion 2", generation="sd2", has_control_nets=False)
SMALL_UNETS: Mapping[int, Family] = {
    1: replace(SD1, name="sd1-small", title="Stable Diffusion 1 with a small U-Net", has_control_nets=False),
    2: replace(SD2, name="sd2-small", title="Stable Diffusion 2 with a small U-Net"),
}
_ONE_STEP = Defaults(steps=1, cfg_scale=1.0, width=512, height=512)
SDXS: Mapping[int, Family] = {
    1: replace(SD1, name="sdxs", title="SDXS", defaults=_ONE_STEP, has_control_nets=False),
    2: replace(SD2, name="sdxs-0.9", title="SDXS 0.9", defaults=_ONE_STEP),
}
UNETS: Mapping[int, Family] = {1: SD1, 2: SD2}
"""Families with a U-Net by version of Stable Diffusion."""
UNETS_BY_CHANNELS: Mapping[tuple[int, ...], Family] = {
    (1, 8): _editing(SD1, name="sd1-pix2pix", title="InstructPix2Pix", cfg_scale=7.5),
    (1, 9): _inpainting(SD1),
    (2, 9): _inpainting(SD2),
}
"""Their variants by version and input channels; the others have 4."""

SDXL = Family(
    "sdxl",
    "Stable Diffusion XL",
    Defaults(steps=25, cfg_scale=5.0),
    "unet",
    ("clip_l", "clip_g", "vae"),
    generation="sdxl",
)
SSD_1B = replace(SDXL, name="ssd-1b", title="SSD-1B")
VEGA = replace(SDXL, name="vega", title="Segmind Vega")
SDXL_INPAINT = _inpainting(SDXL)
COSXL_EDIT = _editing(SDXL, name="sdxl-cosxl-edit", title="CosXL Edit", cfg_scale=5.0)

SD3_MEDIUM = Family(
    "sd3-medium",
    "Stable Diffusion 3 Medium",
    Defaults(steps=20, cfg_scale=4.5),
    "mmdit",
    ("clip_l", "clip_g", "t5xxl", "vae"),
    enough=(("clip_l", "clip_g"),),
)
SD35_MEDIUM = replace(SD3_MEDIUM, name="sd3.5-medium", title="Stable Diffusion 3.5 Medium")
SD35_LARGE = replace(SD3_MEDIUM, name="sd3.5-large", title="Stable Diffusion 3.5 Large")

FLUX_DEV = Family(
    "flux-dev",
    "FLUX.1-dev",
    Defaults(steps=20, cfg_scale=1.0, guidance=3.5),
    "flux",
    ("clip_l", "t5xxl", "vae"),
    enough=(("clip_l",), ("t5xxl",)),
    references="also",
    editor_word="kontext",
)
FLUX_SCHNELL = replace(FLUX_DEV, name="flux-schnell", title="FLUX.1-schnell", defaults=Defaults(steps=4, cfg_scale=1.0))
FLUX_BY_CHANNELS: Mapping[int, Family] = {
    384: replace(
        FLUX_DEV,
        name="flux-fill",
        title="FLUX.1-Fill-dev",
        defaults=Defaults(steps=50, cfg_scale=1.0, guidance=30.0),
        inpaints=True,
    ),
    # The card of Depth says 10, that of Canny 30, and tensors don't tell them apart.
    128: replace(
        FLUX_DEV,
        name="flux-controls",
        title="FLUX.1-Depth-dev or Canny-dev",
        defaults=Defaults(steps=30, cfg_scale=1.0, guidance=10.0),
        follows="control_image",
    ),
}
"""FLUX.1's variants by the input channels of `img_in`; the others have 64."""

_CHROMA_DEFAULTS = Defaults(steps=20, cfg_scale=4.0)
CHROMA = Family("chroma", "Chroma", _CHROMA_DEFAULTS, "flux", ("t5xxl", "vae"))
CHROMA_RADIANCE = Family("chroma-radiance", "Chroma Radiance", _CHROMA_DEFAULTS, "flux", ("t5xxl",))
OVIS_IMAGE = Family("ovis-image", "Ovis-Image", Defaults(steps=20, cfg_scale=5.0), "flux", ("llm", "vae"))
FLUX2 = Family(
    "flux2",
    "FLUX.2-dev",
    Defaults(steps=20, cfg_scale=1.0, guidance=3.5),
    "flux",
    ("llm", "vae"),
    latent_pixels=16,
    references="first",
)
FLUX2_KLEIN = replace(FLUX2, name="flux2-klein", title="FLUX.2 klein", defaults=Defaults(steps=4, cfg_scale=1.0))

QWEN_IMAGE = Family(
    "qwen-image",
    "Qwen-Image",
    Defaults(steps=20, cfg_scale=2.5),
    "transformer",
    ("llm", "vae"),
    references="also",
    editor_word="edit",
)
Z_IMAGE = Family("z-image", "Z-Image", Defaults(steps=8, cfg_scale=1.0), "transformer", ("llm", "vae"))
ANIMA = Family("anima", "Anima", Defaults(steps=20, cfg_scale=6.0), "transformer", ("llm", "vae"))
ERNIE_IMAGE = replace(
    ANIMA, name="ernie-image", title="ERNIE-Image", defaults=Defaults(steps=20, cfg_scale=5.0), latent_pixels=16
)

WAN_T2V = Family(
    "wan-t2v",
    "Wan text to video",
    Defaults(steps=20, cfg_scale=6.0, width=832, height=480),
    "transformer",
    ("t5xxl", "vae"),
    clips=Clips(),
)
WAN_I2V = replace(
    WAN_T2V,
    name="wan-i2v",
    title="Wan 2.1 image to video",
    needs=("t5xxl", "clip_vision", "vae"),
    clips=Clips(("image",)),
)
WAN_FLF2V = replace(
    WAN_I2V, name="wan-flf2v", title="Wan 2.1 first and last frame to video", clips=Clips(("image",), last_image=True)
)
WAN_2_2_I2V = replace(
    WAN_T2V,
    name="wan2.2-i2v",
    title="Wan 2.2 image to video",
    defaults=replace(WAN_T2V.defaults, cfg_scale=3.5),
    clips=Clips(("image",), last_image=True, high_noise=0.9),
)
WAN_2_2_TI2V = replace(
    WAN_T2V,
    name="wan2.2-ti2v",
    title="Wan 2.2 TI2V",
    clips=Clips(("text", "image"), fps=24, side_multiple=32),
    latent_pixels=16,
)
