"""Which EndpointSlices the gateway reads, by what their real controller writes."""

from typing import Any

from cluster.control_plane import ControlPlane
from cluster.waiting import eventually
from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_gateway.watch import SLICE_SELECTOR
from heliograph_operator.plan.service import plan_service


def test_slices_of_the_operators_services_are_read_and_no_others(imagemodels: ControlPlane, namespace: str) -> None:
    metadata = {"name": "tiny", "namespace": namespace, "uid": "u"}
    model = ImageModel.from_object({"metadata": metadata, "spec": {"parameters": {"model": "tiny"}}})
    ours: dict[str, Any] = plan_service(model=model)
    del ours["metadata"]["ownerReferences"]  # garbage collection takes what an unknown object owns
    theirs = {**ours, "metadata": {"name": "other"}}
    for service in (ours, theirs):
        imagemodels.admin.post(f"/api/v1/namespaces/{namespace}/services", json=service).raise_for_status()

    def services(selector: str) -> set[str]:
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        found = imagemodels.admin.get(path, params={"labelSelector": selector}).raise_for_status().json()["items"]
        return {item["metadata"]["labels"][naming.SERVICE_NAME_LABEL] for item in found}

    eventually(lambda: len(services(naming.SERVICE_NAME_LABEL)) == 2, what="slices of both Services")
    assert services(SLICE_SELECTOR) == {naming.child_name("tiny")}
