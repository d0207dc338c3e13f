"""The ServiceAccount of a model's pods: an identity without any right and without a token."""

from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.metadata import new_child
from heliograph_operator.resources import SERVICE_ACCOUNTS, Object


def plan_service_account(*, model: ImageModel) -> Object:
    """Return the ServiceAccount."""
    return {**new_child(resource=SERVICE_ACCOUNTS, model=model), "automountServiceAccountToken": False}
