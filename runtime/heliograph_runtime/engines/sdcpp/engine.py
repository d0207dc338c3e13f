"""The sdcpp engine: checks the files, loads the model, draws."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heliograph_api.spec import ImageModelSpec
from heliograph_runtime.engines import container
from heliograph_runtime.engines.adapters import Adapter, spec_adapters
from heliograph_runtime.engines.defaults import check_defaults
from heliograph_runtime.engines.protocol import Batch, Capabilities, LoadError, OnStep, OutOfMemoryError, Picture

if TYPE_CHECKING:
    from heliograph_runtime.engines.sdcpp.binding import Context, Upscaler
    from heliograph_runtime.engines.sdcpp.generate import Loaded
    from heliograph_runtime.engines.sdcpp.options import LoadOptions

_WITH_CONTROL_NET = ("sd1",)
"""Families whose ControlNets stable-diffusion.cpp knows."""
_OUT_OF_MEMORY = ("out of memory", "failed to allocate", "alloc compute buffer failed")

log = logging.getLogger(__name__)


class SdcppEngine:
    """Draws with stable-diffusion.cpp."""

    def __init__(self) -> None:
        self._context: Context
        self._upscaler: Upscaler | None = None
        self._loaded: Loaded

    def load(self, spec: ImageModelSpec, *, models_dir: Path) -> Capabilities:
        """Load the model, once; see `Engine.load`."""
        try:
            from heliograph_runtime.engines.sdcpp import binding  # noqa: PLC0415 - it loads the library
        except (ImportError, OSError, RuntimeError):  # the package raises the last for a library that lacks a driver
            raise LoadError(
                "EngineMissing",
                "spec.backend: stable-diffusion.cpp is not installed here, or lacks the driver that it was built for; "
                "use a runtime image that has both, or run: pip install 'heliograph[sdcpp]'",
            ) from None
        from heliograph_runtime.engines.sdcpp import capabilities, files, generate, options  # noqa: PLC0415 - likewise
        from heliograph_runtime.engines.sdcpp.families import find_family  # noqa: PLC0415 - likewise
        from heliograph_runtime.engines.sdcpp.headers import read_header  # noqa: PLC0415 - likewise
        from heliograph_runtime.engines.sdcpp.memory import Memory  # noqa: PLC0415 - likewise
        from heliograph_runtime.engines.sdcpp.parts import check_parts  # noqa: PLC0415 - likewise

        wanted = options.read_options(spec.options or (), models_dir=models_dir)
        found_files = files.find_files(spec, wanted, models_dir=models_dir)
        headers = files.read_headers(found_files)
        family = find_family([*headers.values()])
        if family.draws_video:
            raise LoadError(
                "Unsupported", f"parameters.model: {family.title} draws clips, which this engine does not; use another"
            )
        check_parts(family, [*headers.values()])
        if "control_net_path" in found_files and not family.name.startswith(_WITH_CONTROL_NET):
            raise LoadError(
                "Unsupported", f"options: control_net_path: {family.title} can't follow a ControlNet; remove it"
            )
        if wanted.embedding_dir and family.backbone != "unet":
            raise LoadError(
                "Unsupported", f"options: embedding_dir: {family.title} reads no textual inversions; remove it"
            )
        if wanted.upscale_model:
            read_header(wanted.upscale_model, field="options: upscale_model_path")
        adapters = _adapters(spec, wanted, models_dir=models_dir)
        settings = _settings(spec, wanted, found_files)
        if spec.wants_cuda and capabilities.library_device() == "cpu":
            log.warning("cuda: stable-diffusion.cpp was built without a GPU here; the model runs on the CPU")
        on_cpu, memory = capabilities.library_device() == "cpu", Memory(family, headers, wanted)
        needed = memory.check_fits() if on_cpu else 0
        name = spec.model or found_files[files.DIFFUSION_MODEL].name
        log.info("loading %s (%s), about %.1f GiB", name, family.title, needed / 2**30)
        try:
            self._context = binding.Context(
                settings, embeddings=files.find_embeddings(wanted.embedding_dir, models_dir=models_dir)
            )
            if wanted.upscale_model:
                self._upscaler = binding.Upscaler(str(wanted.upscale_model), threads=settings["n_threads"])
        except binding.NativeError as error:
            raise LoadError(
                "LoadFailed", f"parameters.model: stable-diffusion.cpp can't load it as {family.title} ({error})"
            ) from None
        found = capabilities.read_capabilities(
            family,
            parts=headers,
            loras=[adapter.name for adapter in adapters],
            reads_pictures=not settings.get("vae_decode_only"),
            enlarges=wanted.upscale_model is not None,
            max_pixels=memory.max_pixels() if on_cpu else None,
            kontext=any("kontext" in path.name.lower() for path in found_files.values()),
        )
        check_defaults(spec, found)
        if wanted.schedule and wanted.schedule not in found.schedules:
            raise LoadError(
                "InvalidSpec", f"options: scheduler must be one of {', '.join(found.schedules)} for this model"
            )
        self._loaded = generate.Loaded(
            options=wanted,
            guidance_scale=found.guidance_scale or 1.0,
            distilled=found.distilled_guidance,
            clip_layers=capabilities.clip_layers(family),
            loras=[str(adapter.file) for adapter in adapters],
            lora_weights=[adapter.weight for adapter in adapters],
        )
        return found

    def generate(self, batch: Batch, on_step: OnStep) -> list[Picture]:
        """Return one picture for each prompt; see `Engine.generate`."""
        from heliograph_runtime.engines.sdcpp import binding, generate  # noqa: PLC0415 - as above

        try:
            if batch.sampling.mode == "upscale" and self._upscaler:
                return generate.enlarge(self._upscaler, batch, on_step)
            return generate.draw(self._context, self._loaded, batch, on_step)
        except binding.NativeError as error:
            if any(sign in str(error).lower() for sign in _OUT_OF_MEMORY):
                raise OutOfMemoryError(str(error)) from error
            raise


def _settings(spec: ImageModelSpec, options: "LoadOptions", files: dict[str, Path]) -> dict[str, Any]:
    """Return what the library's context is made with."""
    from heliograph_runtime.engines.sdcpp import binding  # noqa: PLC0415 - as above

    return {
        "n_threads": spec.threads or container.count_cpus(),
        # The library's default is to forget each part once it was used, and with it the model after one picture.
        "free_params_immediately": False,
        "vae_decode_only": False,
        # What the library puts into the weights it can't take out again exactly: the next request would see a trace.
        "lora_apply_mode": binding.names("lora_apply_mode")["at_runtime"],
        **({"offload_params_to_cpu": True} if spec.low_vram else {}),
        **{role: str(path) for role, path in files.items()},
        **options.fields,
    }


def _adapters(spec: ImageModelSpec, options: "LoadOptions", *, models_dir: Path) -> list[Adapter]:
    """Return the adapters that the spec names, and those of `lora_dir`, of no weight unless a request gives one."""
    from heliograph_runtime.engines.sdcpp.files import find_loras  # noqa: PLC0415 - likewise
    from heliograph_runtime.engines.sdcpp.headers import read_header  # noqa: PLC0415 - as above

    named = spec_adapters(spec, models_dir=models_dir)
    for adapter in named:
        read_header(adapter.file, field=adapter.field)
    taken = {adapter.file for adapter in named}
    return named + [
        Adapter("options: lora_dir", name, file, 0.0)
        for name, file in find_loras(options.lora_dir, models_dir=models_dir).items()
        if file not in taken and name not in {adapter.name for adapter in named}
    ]
