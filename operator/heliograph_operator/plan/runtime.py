"""How a runtime is told what to serve: its manifest file and its command line.

`heliograph serve` uses the same two functions, so a model runs by the same command with Kubernetes and without.
"""

from typing import Any

from heliograph_api import naming
from heliograph_api.manifest import ImageModel

MANIFEST_FILE = "model.json"
MANIFEST_DIR = "/etc/heliograph"
MODELS_DIR = "/models"

# What is for people, for the gateway or for the scheduler: an edit there must not restart a runtime.
_NOT_FOR_THE_RUNTIME = ("serving", "description", "usage", "disabled", "pinned", "concurrency_groups")
_SERVING_FOR_THE_RUNTIME = ("compat", "limits")


def runtime_args(*, manifest: str, models_dir: str, host: str, port: int) -> list[str]:
    """Return the arguments that follow `heliograph runtime`.

    Args:
        manifest: Path of the file that holds `runtime_manifest` as JSON.
        models_dir: Folder in which relative model paths are looked up.
        host: Address to listen on.
        port: Port to listen on.
    """
    return ["--manifest", manifest, "--models-dir", models_dir, "--host", host, "--port", str(port)]


def runtime_manifest(model: ImageModel) -> dict[str, Any]:
    """Return the ImageModel as its runtime reads it: `heliograph_api.manifest.read_manifests` takes it as JSON.

    It holds no more than what changes the runtime's work, so that it changes only when the runtime must restart.
    """
    spec = {key: value for key, value in model.raw_spec.items() if key not in _NOT_FOR_THE_RUNTIME}
    given = model.raw_spec.get("serving") or {}
    serving = {key: given[key] for key in _SERVING_FOR_THE_RUNTIME if key in given}
    if serving:
        spec["serving"] = serving
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.KIND,
        "metadata": {"name": model.name},
        "spec": spec,
    }
