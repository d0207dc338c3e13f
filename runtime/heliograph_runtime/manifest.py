"""The file that tells a process of the runtime's package which model it is about."""

from pathlib import Path

from heliograph_api.errors import SpecError
from heliograph_api.manifest import ImageModel, read_manifests


def read_model(manifest: Path) -> ImageModel:
    """Return the one ImageModel of a manifest file.

    Raises:
        SpecError: The file holds no valid ImageModel, or several.
        OSError: The file can't be read.
    """
    models = read_manifests(manifest.read_text(), default_name=manifest.stem)
    if len(models) != 1:
        raise SpecError("manifest", f"{manifest} holds {len(models)} models; a runtime serves exactly one")
    return models[0]
