"""How the nodes come by the images of a model's pods."""

from heliograph_operator.resources import Object
from heliograph_operator.settings import OperatorSettings


def pull_secrets(settings: OperatorSettings) -> Object:
    """Return what a pod's `spec` says of the Secrets by which its images are pulled; nothing where there are none.

    A pod says it rather than its ServiceAccount: some clusters add Secrets of their own to each ServiceAccount.
    """
    names = settings.image_pull_secrets
    return {"imagePullSecrets": [{"name": name} for name in names]} if names else {}
