"""What is known of a model before the library sees it, which ends the process on much of what is refused here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from heliograph_api.spec import ImageModelSpec
from heliograph_runtime.engines.adapters import Adapter
from heliograph_runtime.engines.protocol import LoadError
from heliograph_runtime.engines.sdcpp.additions import check_upscaler, find_adapters, find_inversions
from heliograph_runtime.engines.sdcpp.families import find_family, holds_diffusion_alone
from heliograph_runtime.engines.sdcpp.files import ModelFile, find_files
from heliograph_runtime.engines.sdcpp.known import Family
from heliograph_runtime.engines.sdcpp.options import LoadOptions, read_options
from heliograph_runtime.engines.sdcpp.parts import check_parts
from heliograph_runtime.engines.sdcpp.tensors import Header

_HIGH_NOISE = "high_noise_diffusion_model_path"
_FOR_CLIPS = ("clip_vision_path", _HIGH_NOISE)


@dataclass(frozen=True)
class CheckedModel:
    """A model whose files and options are sound, as far as that can be seen without the library.

    Attributes:
        options: Options of the spec.
        files: Its files by the library's name for what they are.
        family: Its family.
        adapters: Its LoRA adapters.
        inversions: Words that call textual inversions, and their files.
    """

    options: LoadOptions
    files: Mapping[str, ModelFile]
    family: Family
    adapters: tuple[Adapter, ...]
    inversions: tuple[tuple[str, str], ...]

    @property
    def headers(self) -> dict[str, Header]:
        """Return the headers of the files, in their order."""
        return {role: file.header for role, file in self.files.items()}

    @property
    def high_noise(self) -> float | None:
        """Return the noise level down to which a model of its own draws clips; None without one."""
        return self.family.clips.high_noise if self.family.clips and _HIGH_NOISE in self.files else None


def check_model(spec: ImageModelSpec, *, models_dir: Path) -> CheckedModel:
    """Return what is known of a spec's model.

    Raises:
        LoadError: A file is missing, unsafe or broken, an option is not one, or the family can't do what they ask for.
    """
    options = read_options(spec.options or (), models_dir=models_dir)
    files = find_files(spec, options, models_dir=models_dir)
    headers = [file.header for file in files.values()]
    family = find_family([file.header for role, file in files.items() if role != _HIGH_NOISE])
    check_parts(family, headers)
    _check_clips(family, files)
    if "control_net_path" in files and not family.has_control_nets:
        raise _unsupported("options: control_net_path", f"{family.title} can't follow a ControlNet; remove it")
    check_upscaler(options)
    inversions = find_inversions(options, family, models_dir=models_dir)
    adapters = find_adapters(spec, options, family, files, models_dir=models_dir)
    return CheckedModel(options, files, family, adapters, inversions)


def _check_clips(family: Family, files: Mapping[str, ModelFile]) -> None:
    """Refuse what is for clips alone with a model of pictures, and a second model of another kind than the first."""
    needless = next((role for role in _FOR_CLIPS if role in files and family.clips is None), None)
    if needless:
        raise _unsupported(f"options: {needless}", f"{family.title} draws pictures, and has no use for it; remove it")
    if _HIGH_NOISE not in files:
        return
    field, header = f"options: {_HIGH_NOISE}", files[_HIGH_NOISE].header
    if find_family([header], field=field) != family or not holds_diffusion_alone(header):
        raise _unsupported(field, f"the file holds no diffusion model of {family.title}; name the one for high noise")


def _unsupported(field: str, problem: str) -> LoadError:
    return LoadError("Unsupported", f"{field}: {problem}")
