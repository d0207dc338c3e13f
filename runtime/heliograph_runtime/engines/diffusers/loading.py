"""Loads a model: one pipeline with all parts, brought to its device, and those that share its parts for every mode."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from heliograph_api.spec import ImageModelSpec
from heliograph_runtime.engines.diffusers.control import add_control_net, load_control_net
from heliograph_runtime.engines.diffusers.embeddings import load_embeddings
from heliograph_runtime.engines.diffusers.files import ModelFiles
from heliograph_runtime.engines.diffusers.lora import Loras, load_loras
from heliograph_runtime.engines.diffusers.modes import relatives, takes_control, with_control, without_control
from heliograph_runtime.engines.diffusers.pipelines import find_pipeline
from heliograph_runtime.engines.diffusers.reading import read_pipeline
from heliograph_runtime.engines.diffusers.settling import Settled, check_machine, quantize_weights, settle
from heliograph_runtime.engines.diffusers.sharing import can_share, share
from heliograph_runtime.engines.protocol import LoadError, Mode

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModePipelines:
    """The pipelines that draw in one mode; `control` follows a control image."""

    plain: Any
    control: Any = None


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory, once, with the pipelines that share its parts.

    Attributes:
        whole: A pipeline with all parts.
        modes: What draws in each mode.
        loras: The adapters that were loaded.
        settled: How it was made ready.
    """

    whole: Any
    modes: Mapping[Mode, ModePipelines]
    loras: Loras
    settled: Settled

    @property
    def pipelines(self) -> list[Any]:
        """Return all pipelines that draw, once each."""
        found = [pipeline for made in self.modes.values() for pipeline in (made.plain, made.control)]
        return [*{id(pipeline): pipeline for pipeline in found if pipeline is not None}.values()]


def load_model(
    spec: ImageModelSpec, files: ModelFiles, *, models_dir: Path, device: str, dtype: torch.dtype
) -> LoadedModel:
    """Return a model on its device, ready to draw.

    Raises:
        LoadError: diffusers can't make a pipeline of the files, or of what the spec adds to them.
    """
    pipeline_type = (spec.diffusers and spec.diffusers.pipeline_type) or ""
    pipeline_class = find_pipeline(pipeline_type, named_by_files=files.pipeline)
    arguments = check_machine(spec, files, device=device, dtype=dtype)
    try:
        pipeline = read_pipeline(pipeline_class, files, dtype=dtype, prefer_fp16=bool(spec.f16), arguments=arguments)
        pipeline.set_progress_bar_config(disable=True)
        quantize_weights(pipeline, spec, device=device)
        pipeline, loras = _with_additions(pipeline, spec, models_dir=models_dir, dtype=dtype)
        settled = settle(pipeline, spec, device=device, loras=bool(loras.names))
        return LoadedModel(pipeline, _modes(pipeline), loras, settled)
    except LoadError:
        raise
    except Exception as error:  # diffusers raises anything
        log.info("loading failed", exc_info=True)
        detail = " ".join(str(error).split())[:400]
        raise LoadError(
            "LoadFailed",
            f"parameters.model: {pipeline_class.__name__} can't be made of {files.single_file or files.folder}; "
            f"fetch the model again, or correct diffusers.pipeline_type ({detail})",
        ) from None


def _with_additions(pipeline: Any, spec: ImageModelSpec, *, models_dir: Path, dtype: torch.dtype) -> tuple[Any, Loras]:
    """Return a pipeline with what its spec adds: words, adapters, a ControlNet."""
    load_embeddings(pipeline, spec.options or (), models_dir=models_dir)
    loras = load_loras(pipeline, spec, models_dir=models_dir)
    if spec.diffusers and spec.diffusers.control_net:
        control = load_control_net(spec.diffusers.control_net, models_dir=models_dir, dtype=dtype)
        pipeline = add_control_net(pipeline, control)
    return pipeline, loras


def _modes(pipeline: Any) -> dict[Mode, ModePipelines]:
    """Return the pipelines with the parts of one, for all modes in which its weights can draw."""
    controlled = takes_control(type(pipeline))
    union = controlled and "Union" in type(pipeline).__name__
    plain_class = without_control(type(pipeline)) if controlled else type(pipeline)
    made: dict[Any, Any] = {type(pipeline): pipeline}

    def make(pipeline_class: Any) -> Any:
        if pipeline_class not in made:
            made[pipeline_class] = share(pipeline, pipeline_class)
        return made[pipeline_class]

    found: dict[Mode, ModePipelines] = {}
    for mode, member in relatives(plain_class).items():
        if can_share(pipeline, member) and _can_draw(pipeline, mode):
            control_class = with_control(member, union=union) if controlled else None
            found[mode] = ModePipelines(make(member), make(control_class) if control_class else None)
    if not found:
        raise LoadError(
            "UnsupportedPipeline",
            f"parameters.model: the weights are made for no mode of {type(pipeline).__name__}; "
            "correct diffusers.pipeline_type",
        )
    return found


def _can_draw(pipeline: Any, mode: Mode) -> bool:
    """Return whether weights can draw in a mode that their family has.

    A UNet for inpainting sees the mask and the masked picture beside the latents, and a refiner needs a picture. Of Wan
    some weights see a picture beside the latents and need it, and some can begin a clip with one.
    """
    denoiser = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    vae = getattr(getattr(pipeline, "vae", None), "config", {})
    channels, latents = getattr(denoiser, "config", {}).get("in_channels"), vae.get("latent_channels")
    if hasattr(pipeline, "unet") and latents and channels == 2 * latents + 1:
        return mode == "inpaint"
    if type(pipeline).__name__.startswith("Wan"):
        sees = channels > vae["z_dim"]
        return sees == (mode == "image") or bool(pipeline.config.get("expand_timesteps"))
    return mode != "text" or not pipeline.config.get("requires_aesthetics_score")
