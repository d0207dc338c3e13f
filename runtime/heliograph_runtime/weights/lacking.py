"""What a checkpoint in one file lacks, which the diffusers engine looks for beside it."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from heliograph_api.sources import RepositorySource
from heliograph_api.weights import Part
from heliograph_runtime.engines.diffusers.checkpoints import check_safetensors, find_family, find_held
from heliograph_runtime.engines.diffusers.files import CONFIGS
from heliograph_runtime.engines.protocol import LoadError
from heliograph_runtime.weights.errors import FetchError

_FIELD = "spec.parameters.model"
_DENOISERS = frozenset({"transformer", "unet"})
_CAN_DO_WITHOUT = "text_encoder_3"
"""Of Stable Diffusion 3, whose makers publish files without it."""


@dataclass(frozen=True)
class Lacking:
    """What is to be fetched beside a checkpoint.

    Attributes:
        part: The repository of the checkpoint's family.
        held: Parts of the pipeline whose weights the checkpoint holds; None for all.
        title: What people call the family.
    """

    part: Part
    held: Collection[str] | None
    title: str


def find_lacking(checkpoint: Path, *, place: str, places: Collection[str]) -> Lacking | None:
    """Return what a checkpoint lacks; None when its configs are there, or its family is not known.

    Args:
        checkpoint: The content of the file.
        place: Its place in the model's folder.
        places: The places of all files.

    Raises:
        FetchError: It is no safetensors file by its content.
    """
    folder = str(PurePosixPath(place).with_suffix(""))
    if any(other.startswith((f"{folder}/", f"{CONFIGS}/")) for other in places):
        return None
    try:
        check_safetensors(checkpoint)
    except LoadError:
        raise FetchError(
            "UnsafeWeights",
            f"{_FIELD}: {place} is not safetensors, or not whole, whatever its name says; convert it to safetensors, "
            "or name another",
        ) from None
    family = find_family(checkpoint)
    if family is None:
        return None
    held: set[str] | None = None
    if not family.complete:
        held = find_held(checkpoint) | _DENOISERS
        if "vae" in held:
            held.add(_CAN_DO_WITHOUT)
    return Lacking(Part(_FIELD, RepositorySource("huggingface", family.repo), folder), held, family.title)
