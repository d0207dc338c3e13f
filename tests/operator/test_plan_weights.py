"""From which volume a model's pods get its weights, where the spec must be refused."""

from typing import Any

import pytest

from heliograph_api.errors import SpecError
from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.children import plan
from heliograph_operator.plan.fetched import Fetched
from heliograph_operator.plan.weights import plan_weights
from heliograph_operator.settings import OperatorSettings

SHARED = "team-weights"


def planned(spec: dict[str, Any]) -> Any:
    model = ImageModel.from_object({"metadata": {"name": "dream", "namespace": "art"}, "spec": spec})
    return plan_weights(model=model, settings=OperatorSettings(cache_shared_claim=SHARED))


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (
            {"parameters": {"model": "dream.gguf"}, "serving": {"cache": {"existingClaim": SHARED, "subPath": "a"}}},
            "spec.serving.cache.existingClaim",
        ),
        ({"parameters": {"model": f"pvc://{SHARED}/models/dream"}}, "spec.parameters.model"),
    ],
)
def test_the_claim_that_models_share_is_no_model_s_own(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError, match="removed from when those no longer need them") as caught:
        planned(spec)
    assert caught.value.path == field


def test_another_claim_is_read_as_it_is() -> None:
    found = planned(
        {"parameters": {"model": "dream.gguf"}, "serving": {"cache": {"existingClaim": "heliograph-weights"}}}
    )
    assert (found.mode, found.claim) == ("existing", "heliograph-weights")


@pytest.mark.parametrize(
    ("cache", "resources", "requested"),
    [
        ({"mode": "ephemeral"}, None, None),
        ({"mode": "ephemeral", "size": "7Gi"}, None, "7Gi"),
        ({"mode": "ephemeral", "size": "7Gi"}, {"requests": {"cpu": "1"}}, "7Gi"),
        ({"mode": "ephemeral"}, {"requests": {"ephemeral-storage": "3Gi"}}, "3Gi"),
        ({"mode": "ephemeral"}, {"limits": {"ephemeral-storage": "90Gi"}}, None),
        ({"mode": "perModel"}, None, None),
    ],
    ids=["default", "size", "other resources", "given", "limit given", "claim"],
)
def test_the_disk_of_the_node_is_asked_for_where_weights_lie_on_it(
    cache: dict[str, Any], resources: dict[str, Any] | None, requested: str | None
) -> None:
    serving = {"cache": cache, **({"resources": resources} if resources else {})}
    spec = {"parameters": {"model": "a/b"}, "serving": serving}
    model = ImageModel.from_object({"metadata": {"name": "dream", "namespace": "art", "uid": "1"}, "spec": spec})
    settings = OperatorSettings()
    weights = plan_weights(model=model, settings=settings)
    found = plan(model=model, settings=settings, record=Fetched(weights.by_job) if weights.by_job else None)

    (deployment,) = (child for child in found.children if child["kind"] == "Deployment")
    (runtime,) = deployment["spec"]["template"]["spec"]["containers"]
    assert runtime["resources"].get("requests", {}).get("ephemeral-storage") == requested
