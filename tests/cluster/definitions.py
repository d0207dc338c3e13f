"""The CustomResourceDefinition in a control plane."""

from pathlib import Path

from cluster.control_plane import ControlPlane
from cluster.waiting import eventually

_CRDS = Path(__file__).resolve().parents[2] / "crds"
_PATH = "/apis/heliograph.dev/v1alpha1/imagemodels"


def define_imagemodels(control_plane: ControlPlane) -> None:
    """Apply the definition of ImageModels as it is checked in, and wait until they are served."""
    control_plane.kubectl("apply", "--filename", _CRDS)
    eventually(lambda: control_plane.admin.get(_PATH).is_success, what="ImageModels in the API")


def remove_imagemodels(control_plane: ControlPlane) -> None:
    """Remove the definition of ImageModels and with it all of them, and wait until they are served no longer."""
    control_plane.kubectl("delete", "--filename", _CRDS)
    eventually(lambda: control_plane.admin.get(_PATH).status_code == 404, what="API without ImageModels")
