"""The charts' values: their schema, and what is refused before anything is installed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from heliograph_api.engine import Engine
from heliograph_api.serving import Resources, Toleration
from heliograph_operator.settings import Profile

CHARTS = Path(__file__).resolve().parents[2] / "charts"


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("gateway.replicas=2", "name the Secret of a PostgreSQL database in gateway.database.urlSecret, or set 1"),
        ("gateway.replicas=2,gateway.database.urlSecret.name=db", "name a bucket in gateway.files.url"),
        (
            "gateway.replicas=2,gateway.database.urlSecret.name=db,gateway.data.existingClaim=kept",
            "with gateway.data.readWriteMany, or set 1",
        ),
        (
            "gateway.replicas=2,gateway.database.urlSecret.name=db,gateway.files.url=s3://pictures",
            "gateway.signingKeySecret.name: is empty",
        ),
        ("gateway.database.urlSecret.name=db", "gateway.signingKeySecret.name: is empty"),
        ("gateway.files.url=s3://pictures", "set gateway.database.urlSecret or gateway.data.existingClaim"),
        ("gateway.files.secretRef=aws", "gateway.files.url names none"),
        ("gateway.files.url=file:///tmp", "gateway.files.url: Does not match pattern"),
        ("gateway.files.url=s3://key:secret@pictures", "gateway.files.url: Does not match pattern"),
        ("gateway.data.size=500Mi", "gateway.data.size: 500Mi is no number of whole Gi"),
        ("gateway.data.size=10", "gateway.data.size: 10 is no number of whole Gi"),
        ("clusterWide=true,namespaces={a}", "namespaces: a would not be the only ones"),
        ("runtime.network.scraperNamespaceLabels.a=b", "runtime.network.scraperPodLabels: without them"),
        ("operator.replica=2", "operator: Additional property replica is not allowed"),
        ("operator.replicas=-1", "operator.replicas: Must be greater than or equal to 0"),
        ("namespaces=team-a", "namespaces: Invalid type. Expected: array, given: string"),
        ("namespaces={team-a,team-a}", "namespaces: array items.* must be unique"),
        ("namespaces={Team}", "namespaces.0: Does not match pattern"),
        ("imagePullSecrets={registry}", "imagePullSecrets.0: Invalid type. Expected: object"),
        ("gateway.hold.seconds=1.5", "gateway.hold.seconds: Invalid type. Expected: integer"),
        ("runtime.resources.requests.cpu=2", "runtime.resources.requests.cpu: Invalid type. Expected: string"),
        ("runtime.gpuProfile.gpu=1", "runtime.gpuProfile: Additional property gpu is not allowed"),
        ("runtime.profiles.l4.images.cuda=x", "runtime.profiles.l4.images: Additional property cuda is not allowed"),
        ("runtime.network.probeRanges={10.0.0.1}", "runtime.network.probeRanges.0: Does not match pattern"),
        ("weights.env.PORT=80", "weights.env.PORT: Invalid type. Expected: string"),
        ("weights.cache.mode=shared", 'weights.cache.mode must be one of the following: "perModel"'),
        ("tenants.a-scale.namespaces={x}", 'tenants: Property name of "a-scale" does not match'),
        ("monitoring.alerts.notReadyFor=15", "monitoring.alerts.notReadyFor: Invalid type. Expected: string"),
    ],
)
def test_values_that_cannot_work_are_refused(helm: Callable[..., str], option: str, problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        helm("template", "heliograph", CHARTS / "heliograph", "--set", option)


@pytest.mark.parametrize("chart", ["heliograph", "heliograph-crds"])
def test_the_schema_has_every_value_and_no_other(chart: str) -> None:
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text())
    values = yaml.safe_load((CHARTS / chart / "values.yaml").read_text())

    def compare(schema: dict[str, Any], values: Any, place: str) -> None:
        if "properties" in schema:
            assert schema["properties"].keys() - {"global"} == values.keys(), place
            assert schema["additionalProperties"] is False, place
            for key, value in values.items():
                compare(schema["properties"][key], value, f"{place}.{key}")

    compare(schema, values, chart)


def test_the_schema_knows_profiles_as_the_operator_does() -> None:
    """What the chart lets pass and the operator does not would keep it from starting."""
    definitions = json.loads((CHARTS / "heliograph" / "values.schema.json").read_text())["definitions"]

    def keys(model: type[BaseModel]) -> set[str]:
        return {field.alias or name for name, field in model.model_fields.items()}

    models: dict[str, type[BaseModel]] = {"profile": Profile, "resources": Resources, "toleration": Toleration}
    for name, model in models.items():
        assert definitions[name]["properties"].keys() == keys(model)
    assert definitions["images"]["properties"].keys() == set(get_args(Engine))
