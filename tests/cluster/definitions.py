"""The CustomResourceDefinition in a control plane."""

from pathlib import Path

from cluster.control_plane import ControlPlane
from cluster.waiting import eventually

_CRDS = Path(__file__).resolve().parents[2] / "crds"


def define_imagemodels(control_plane: ControlPlane) -> None:
    """Apply the definition of ImageModels as it is checked in, and wait until they are served."""
    control_plane.kubectl("apply", "--filename", _CRDS)
    path = "/apis/heliograph.dev/v1alpha1/imagemodels"
    eventually(lambda: control_plane.admin.get(path).is_success, what="ImageModels in the API")
