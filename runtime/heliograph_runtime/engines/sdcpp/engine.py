"""The sdcpp engine: checks the files, loads the model, draws."""

import logging
from pathlib import Path
from typing import Any

from heliograph_api.spec import ImageModelSpec
from heliograph_runtime.engines import container
from heliograph_runtime.engines.defaults import check_defaults
from heliograph_runtime.engines.protocol import (
    Batch,
    Capabilities,
    DeviceMemory,
    LoadError,
    OnStep,
    OutOfMemoryError,
    Picture,
)
from heliograph_runtime.engines.sdcpp import binding
from heliograph_runtime.engines.sdcpp.capabilities import library_device, read_capabilities
from heliograph_runtime.engines.sdcpp.checking import CheckedModel, check_model
from heliograph_runtime.engines.sdcpp.generate import Loaded, draw, enlarge
from heliograph_runtime.engines.sdcpp.loras import APPLY_MODE
from heliograph_runtime.engines.sdcpp.memory import Memory

_OUT_OF_MEMORY = ("out of memory", "failed to allocate", "alloc compute buffer failed")

log = logging.getLogger(__name__)


class SdcppEngine:
    """Draws with stable-diffusion.cpp."""

    def __init__(self) -> None:
        self._context: binding.Context
        self._upscaler: binding.Upscaler | None = None
        self._loaded: Loaded

    def load(self, spec: ImageModelSpec, *, models_dir: Path) -> Capabilities:
        """Load the model, once; see `Engine.load`."""
        checked = check_model(spec, models_dir=models_dir)
        options, on_cpu = checked.options, library_device() == "cpu"
        if spec.wants_cuda and on_cpu:
            log.warning("cuda: stable-diffusion.cpp was built without a GPU here; the model runs on the CPU")
        settings = _settings(spec, checked)
        memory = Memory(checked.family, checked.headers, options, threads=settings["n_threads"])
        size = f", about {memory.check_fits() / 2**30:.1f} GiB" if on_cpu else ""
        log.info("loading %s%s", checked.family.title, size)
        self._open(checked, settings)
        found = read_capabilities(
            checked,
            max_pixels=memory.max_pixels() if on_cpu else None,
        )
        check_defaults(spec, found)
        if options.schedule and options.schedule not in found.schedules:
            schedules = ", ".join(found.schedules)
            raise LoadError("InvalidSpec", f"options: scheduler must be one of {schedules} for this model")
        self._loaded = Loaded(
            options=options,
            guidance_scale=found.guidance_scale or 1.0,
            distilled=found.distilled_guidance,
            image_scale=checked.family.defaults.image_scale,
            follows=checked.family.follows,
            high_noise=checked.high_noise,
            clip_layers=checked.family.clip_stop,
            latent_pixels=checked.family.latent_pixels,
            loras=[str(adapter.file) for adapter in checked.adapters],
            lora_weights=[adapter.weight for adapter in checked.adapters],
        )
        return found

    def generate(self, batch: Batch, on_step: OnStep) -> list[Picture]:
        """Return one picture for each prompt; see `Engine.generate`."""
        try:
            if batch.sampling.mode == "upscale" and self._upscaler:
                return enlarge(self._upscaler, batch, on_step)
            return draw(self._context, self._loaded, batch, on_step)
        except binding.NativeError as error:
            if any(sign in str(error).lower() for sign in _OUT_OF_MEMORY):
                raise OutOfMemoryError(str(error)) from error
            raise

    def memory(self) -> DeviceMemory | None:
        """Return None: the library does not tell; see `Engine.memory`."""
        return None

    def _open(self, checked: CheckedModel, settings: dict[str, Any]) -> None:
        try:
            self._context = binding.Context(settings, embeddings=checked.inversions)
            if checked.options.upscale_model:
                self._upscaler = binding.Upscaler(str(checked.options.upscale_model), threads=settings["n_threads"])
        except binding.NativeError as error:
            raise LoadError(
                "LoadFailed",
                f"parameters.model: stable-diffusion.cpp can't load it as {checked.family.title} ({error})",
            ) from None


def _settings(spec: ImageModelSpec, checked: CheckedModel) -> dict[str, Any]:
    """Return what the library's context is made with."""
    return {
        "n_threads": spec.threads or container.count_cpus(),
        # The library's default is to forget each part once it was used, and with it the model after one picture.
        "free_params_immediately": False,
        "vae_decode_only": False,
        "lora_apply_mode": binding.names("lora_apply_mode")[APPLY_MODE],
        **({"offload_params_to_cpu": True} if spec.low_vram else {}),
        **{role: str(file.path) for role, file in checked.files.items()},
        **checked.options.fields,
    }
