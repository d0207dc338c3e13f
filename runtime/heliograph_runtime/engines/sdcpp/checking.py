"""What is known of a model before the library sees it, which ends the process on much of what is refused here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from heliograph_api.spec import ImageModelSpec
from heliograph_runtime.engines.adapters import Adapter, spec_adapters
from heliograph_runtime.engines.protocol import LoadError
from heliograph_runtime.engines.sdcpp.families import find_family
from heliograph_runtime.engines.sdcpp.files import ModelFile, find_files, find_loras
from heliograph_runtime.engines.sdcpp.headers import read_header
from heliograph_runtime.engines.sdcpp.known import Family
from heliograph_runtime.engines.sdcpp.options import LoadOptions, read_options
from heliograph_runtime.engines.sdcpp.parts import check_parts
from heliograph_runtime.engines.sdcpp.tensors import Header

_WITH_CONTROL_NET = ("sd1",)
"""Families whose ControlNets stable-diffusion.cpp knows."""


@dataclass(frozen=True)
class CheckedModel:
    """A model whose files and options are sound, as far as that can be seen without the library.

    Attributes:
        options: Options of the spec.
        files: Its files by the library's name for what they are.
        family: Its family.
        adapters: Its LoRA adapters.
    """

    options: LoadOptions
    files: Mapping[str, ModelFile]
    family: Family
    adapters: tuple[Adapter, ...]

    @property
    def headers(self) -> dict[str, Header]:
        """Return the headers of the files, in their order."""
        return {role: file.header for role, file in self.files.items()}


def check_model(spec: ImageModelSpec, *, models_dir: Path) -> CheckedModel:
    """Return what is known of a spec's model.

    Raises:
        LoadError: A file is missing, unsafe or broken, an option is not one, or the family can't do what they ask for.
    """
    options = read_options(spec.options or (), models_dir=models_dir)
    files = find_files(spec, options, models_dir=models_dir)
    headers = [file.header for file in files.values()]
    family = find_family(headers)
    if family.draws_video:
        raise _unsupported("parameters.model", f"{family.title} draws clips, which this engine does not; use another")
    check_parts(family, headers)
    if "control_net_path" in files and not family.name.startswith(_WITH_CONTROL_NET):
        raise _unsupported("options: control_net_path", f"{family.title} can't follow a ControlNet; remove it")
    if options.embedding_dir and family.backbone != "unet":
        raise _unsupported("options: embedding_dir", f"{family.title} reads no textual inversions; remove it")
    if options.upscale_model:
        read_header(options.upscale_model, field="options: upscale_model_path")
    return CheckedModel(options, files, family, tuple(_adapters(spec, options, models_dir=models_dir)))


def _unsupported(field: str, problem: str) -> LoadError:
    return LoadError("Unsupported", f"{field}: {problem}")


def _adapters(spec: ImageModelSpec, options: LoadOptions, *, models_dir: Path) -> list[Adapter]:
    """Return the adapters that the spec names, and those of `lora_dir`, of no weight unless a request gives one."""
    named = spec_adapters(spec, models_dir=models_dir)
    for adapter in named:
        read_header(adapter.file, field=adapter.field)
    taken = {adapter.file for adapter in named}
    return named + [
        Adapter("options: lora_dir", name, file, 0.0)
        for name, file in find_loras(options.lora_dir, models_dir=models_dir).items()
        if file not in taken and name not in {adapter.name for adapter in named}
    ]
