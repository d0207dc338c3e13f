"""The diffusers engine: checks the files, loads the model, draws batches."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heliograph_api.spec import ImageModelSpec
from heliograph_runtime.engines import container
from heliograph_runtime.engines.defaults import check_defaults
from heliograph_runtime.engines.diffusers.files import find_model
from heliograph_runtime.engines.diffusers.weights import check_model
from heliograph_runtime.engines.protocol import Batch, Capabilities, DeviceMemory, OnStep, Picture

if TYPE_CHECKING:
    from heliograph_runtime.engines.diffusers.loading import LoadedModel

log = logging.getLogger(__name__)


class DiffusersEngine:
    """Draws with pipelines of the diffusers library."""

    def __init__(self) -> None:
        self._model: LoadedModel
        self._device = "cpu"
        self._options: dict[str, Any] = {}
        self._weighting = True

    def load(self, spec: ImageModelSpec, *, models_dir: Path) -> Capabilities:
        """Load the model, once; see `Engine.load`."""
        files = find_model(spec.model, models_dir=models_dir)
        check_model(files, models_dir=models_dir)

        # Only now, so that files that can't be served are refused at once: torch and diffusers take seconds to import.
        import torch  # noqa: PLC0415

        from heliograph_runtime.engines.diffusers import (  # noqa: PLC0415
            acceleration,
            capabilities,
            control,
            loading,
            options,
            placement,
        )

        torch.set_num_threads(spec.threads or container.count_cpus())
        self._weighting = options.load_switch(spec.options or (), "prompt_weighting") is not False
        self._device = device = placement.choose_device(spec)
        dtype = placement.choose_dtype(spec, parts=files.components, device=device)
        log.info("loading %s on %s as %s", files.single_file or files.folder, device, dtype)
        self._model = loading.load_model(spec, files, models_dir=models_dir, device=device, dtype=dtype)
        self._options = options.pipeline_options(spec.options or (), self._model.pipelines)
        self._options |= control.read_control_mode(self._model.whole, self._options)
        found = capabilities.read_capabilities(
            self._model, device=device, dtype=str(dtype).removeprefix("torch."), options=self._options
        )
        check_defaults(spec, found)
        if self._model.settled.compiled:
            acceleration.warm_up(lambda batch: self.generate(batch, lambda *_: None), found)
        return found

    def generate(self, batch: Batch, on_step: OnStep) -> list[Picture]:
        """Return one picture or clip for each prompt; see `Engine.generate`."""
        import torch  # noqa: PLC0415 - as above

        from heliograph_runtime.engines.diffusers import generate, lora, placement, recovery  # noqa: PLC0415

        sampling, pipelines = batch.sampling, self._model.modes[batch.sampling.mode]
        pipeline = pipelines.control if batch.inputs and batch.inputs.control else pipelines.plain
        budget = self._model.settled.budget

        def draw(piece: Batch, on_piece_step: OnStep, frugal: bool) -> list[Picture]:
            placement.set_decoding(
                pipeline,
                tiled=frugal or budget.tiled(sampling),
                one_by_one=frugal or budget.one_by_one(sampling, len(piece.prompts)),
            )
            return generate.draw(pipeline, piece, on_piece_step, options=self._options, weighting=self._weighting)

        # The pipelines turn off gradients alone; a small model gains some percent where PyTorch records nothing at all.
        with torch.inference_mode(), lora.weighed(self._model.whole, self._model.loras, sampling.loras):
            return recovery.draw_within_memory(
                draw,
                batch,
                on_step,
                at_once=budget.at_once(sampling, len(batch.prompts)),
                recover=lambda: recovery.release(pipeline),
            )

    def memory(self) -> DeviceMemory | None:
        """Return what is in use of the GPUs; see `Engine.memory`."""
        from heliograph_runtime.engines.diffusers import placement  # noqa: PLC0415 - as above

        return placement.device_memory(self._device)
