"""From which volume a model's pods get its weights, where the spec must be refused."""

from typing import Any

import pytest

from heliograph_api.errors import SpecError
from heliograph_api.manifest import ImageModel
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
