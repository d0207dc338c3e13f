"""The Service of a model; gateways read its EndpointSlices."""

from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.metadata import new_child
from heliograph_operator.resources import SERVICES, Object


def plan_service(*, model: ImageModel) -> Object:
    """Return the Service."""
    return {
        **new_child(resource=SERVICES, model=model),
        "spec": {
            "type": "ClusterIP",
            "selector": naming.selector_labels(model.name),
            "ports": [
                {
                    "name": naming.RUNTIME_PORT_NAME,
                    "port": naming.RUNTIME_PORT,
                    "targetPort": naming.RUNTIME_PORT_NAME,
                    "protocol": "TCP",
                }
            ],
        },
    }


def service_url(*, model: ImageModel) -> str:
    """Return the address of the Service inside the cluster."""
    return f"http://{naming.child_name(model.name)}.{model.namespace}.svc:{naming.RUNTIME_PORT}"
