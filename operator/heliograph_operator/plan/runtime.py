"""How a runtime is told what to serve: its manifest file and its command line.

`heliograph serve` uses the same two functions, so a model runs by the same command with Kubernetes and without.
"""

from collections.abc import Mapping
from typing import Any

from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_api.spec import ImageModelSpec

MANIFEST_FILE = "model.json"
MANIFEST_DIR = "/etc/heliograph"
MODELS_DIR = "/models"

# What is for people, for the gateway or for the scheduler, or has no effect: an edit there must not restart a runtime.
_NOT_FOR_THE_RUNTIME = {
    "serving", "description", "usage", "disabled", "pinned", "concurrency_groups", "known_usecases",
    "known_input_modalities", "known_output_modalities", "lora_base", "mmproj", "grpc",
}  # fmt: skip
_FOR_THE_RUNTIME = ImageModelSpec.model_fields.keys() - _NOT_FOR_THE_RUNTIME
_SERVING_FOR_THE_RUNTIME = ("compat", "limits", "splitPrompt")


def runtime_args(*, manifest: str, models_dir: str, host: str, port: int) -> list[str]:
    """Return the arguments that follow `heliograph runtime`.

    Args:
        manifest: Path of the file that holds `runtime_manifest` as JSON.
        models_dir: Folder in which relative model paths are looked up.
        host: Address to listen on.
        port: Port to listen on.
    """
    return ["--manifest", manifest, "--models-dir", models_dir, "--host", host, "--port", str(port)]


def runtime_manifest(model: ImageModel, spec: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the ImageModel as its runtime reads it: `heliograph_api.manifest.read_manifests` takes it as JSON.

    It holds no more than what changes the runtime's work, so that it changes only when the runtime must restart.

    Args:
        model: The ImageModel.
        spec: Its spec with the places of fetched files instead of their sources; as it is unless given.
    """
    spec = {key: value for key, value in (model.raw_spec if spec is None else spec).items() if key in _FOR_THE_RUNTIME}
    given = model.raw_spec.get("serving") or {}
    serving = {key: given[key] for key in _SERVING_FOR_THE_RUNTIME if key in given}
    if serving:
        spec["serving"] = serving
    metadata = {"name": model.name, **({"namespace": model.namespace} if model.namespace else {})}
    return {"apiVersion": naming.API_VERSION, "kind": naming.KIND, "metadata": metadata, "spec": spec}
