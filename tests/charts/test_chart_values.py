"""The charts' values: their schema, and what is refused before anything is installed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from charts.variants import CHARTS, Render, environment, only
from heliograph_api.engine import Engine
from heliograph_api.serving import Resources, Toleration
from heliograph_gateway.settings import GatewaySettings
from heliograph_operator.settings import Profile

ONE_AT_MOST = "gateway.autoscaling.enabled=true,gateway.autoscaling.minReplicas=1,gateway.autoscaling.maxReplicas=1"


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
        (
            "gateway.autoscaling.enabled=true",
            "gateway.autoscaling.maxReplicas: 5 replicas .* or turn gateway.autoscaling.enabled off",
        ),
        (
            "gateway.autoscaling.enabled=true,gateway.autoscaling.maxReplicas=1",
            "gateway.autoscaling.minReplicas: 2 is more than maxReplicas, which is 1",
        ),
        (
            f"{ONE_AT_MOST},gateway.resources.requests.cpu=null",
            "gateway.resources.requests.cpu: is empty, and gateway.autoscaling measures",
        ),
        ("gateway.autoscaling.minReplicas=0", "gateway.autoscaling.minReplicas: Must be greater than or equal to 1"),
        ("gateway.service.loadBalancerClass=x/y", "gateway.service.loadBalancerClass: is for the type LoadBalancer"),
        ("gateway.service.loadBalancerClass=a: b", "gateway.service.loadBalancerClass: Does not match pattern"),
        ("gateway.service.loadBalancerSourceRanges={10.0.0.0/8}", "gateway.service.type is ClusterIP; set that"),
        ("gateway.service.externalTrafficPolicy=Local", "externalTrafficPolicy: is for the types NodePort and"),
        ("gateway.service.nodePort=30080", "gateway.service.nodePort: is for the types NodePort and LoadBalancer"),
        ("gateway.service.type=ExternalName", "gateway.service.type must be one of the following"),
        ("gateway.ingress.enabled=true", "gateway.ingress.hosts: is empty; name the host that clients ask"),
        ("gateway.ingress.hosts={https://images.example.org}", "gateway.ingress.hosts.0: Does not match pattern"),
        ("gateway.ingress.hosts={a..test}", "gateway.ingress.hosts.0: Does not match pattern"),
        ("gateway.ingress.hosts={Images}", "gateway.ingress.hosts.0: Does not match pattern"),
        ("gateway.ingress.hosts={a.test,a.test}", "gateway.ingress.hosts: array items.* must be unique"),
        ("gateway.ingress.annotations.x=1", "gateway.ingress.annotations.x: Invalid type. Expected: string"),
        ("gateway.ingress.tls[0].secret=x", "gateway.ingress.tls.0: Additional property secret is not allowed"),
        ("gateway.httpRoute.enabled=true", "gateway.httpRoute.parentRefs: is empty; name the Gateway"),
        ("gateway.httpRoute.parentRefs[0].namespace=x", "gateway.httpRoute.parentRefs.0: name is required"),
        ("gateway.httpRoute.requestTimeout=600", "gateway.httpRoute.requestTimeout: Invalid type. Expected: string"),
        ("gateway.httpRoute.requestTimeout=1.5h", "gateway.httpRoute.requestTimeout: Does not match pattern"),
        (
            "gateway.env.HTTP_PORT=80",
            "gateway.env.HTTP_PORT: Invalid type. Expected: string",
        ),
        ("gateway.env.HELIOGRAPH_GATEWAY_LOG_FORMAT=json", "LOG_FORMAT: is set by the chart; change the value"),
        ("gateway.env.HELIOGRAPH_GATEWAY_API_KEY=sk", "a secret, .* name a Secret in gateway.apiKeySecret"),
        ("gateway.env.HELIOGRAPH_GATEWAY_SIGNING_KEY=sk", "a secret, .* name a Secret in gateway.signingKeySecret"),
        ("gateway.env.HELIOGRAPH_GATEWAY_MAX_BODY_BYTES=64Mi", "MAX_BODY_BYTES: 64Mi is no number of bytes"),
        ("gateway.podLabels.app\\.kubernetes\\.io/component=x", "gateway.podLabels: app.kubernetes.io/component is a"),
        ("operator.podLabels.helm\\.sh/chart=x", "operator.podLabels: helm.sh/chart is a label of the chart's own"),
        ("gateway.affinity.podAntiAfinity.x=y", "gateway.affinity: Additional property podAntiAfinity is not allowed"),
        ("gateway.tolerations[0].efect=NoSchedule", "gateway.tolerations.0: Additional property efect is not allowed"),
        ("operator.priorityClassName=High", "operator.priorityClassName: Does not match pattern"),
        ("gateway.files.url=file:///tmp", "gateway.files.url: Does not match pattern"),
        ("gateway.files.url=s3://key:secret@pictures", "gateway.files.url: Does not match pattern"),
        ("gateway.caConfigMap.key=a/b", "gateway.caConfigMap.key: Does not match pattern"),
        ("gateway.serviceAccountAnnotations.x=1", "serviceAccountAnnotations.x: Invalid type. Expected: string"),
        ("gateway.data.size=500Mi", "gateway.data.size: 500Mi is no number of whole Gi"),
        ("gateway.data.size=10", "gateway.data.size: 10 is no number of whole Gi"),
        ("clusterWide=true,namespaces={a}", "namespaces: a would not be the only ones"),
        ("runtime.network.scraperNamespaceLabels.a=b", "runtime.network.scraperPodLabels: without them"),
        ("operator.replica=2", "operator: Additional property replica is not allowed"),
        ("gateway.hold=null", "gateway: hold is required"),
        ("operator.replicas=-1", "operator.replicas: Must be greater than or equal to 0"),
        ("namespaces=team-a", "namespaces: Invalid type. Expected: array, given: string"),
        ("namespaces={team-a,team-a}", "namespaces: array items.* must be unique"),
        ("namespaces={Team}", "namespaces.0: Does not match pattern"),
        ("imagePullSecrets={registry}", "imagePullSecrets.0: Invalid type. Expected: object"),
        ("gateway.hold.seconds=1.5", "gateway.hold.seconds: Invalid type. Expected: integer"),
        ("runtime.resources.requests.cpu=2", "runtime.resources.requests.cpu: Invalid type. Expected: string"),
        ("runtime.gpuProfile.gpu=1", "runtime.gpuProfile: Additional property gpu is not allowed"),
        ("runtime.profiles.l4.images.cuda=x", "runtime.profiles.l4.images: Additional property cuda is not allowed"),
        (
            r"runtime.profiles.l4.podLabels.app\.kubernetes\.io/name=x",
            "runtime.profiles.l4.podLabels: app.kubernetes.io/name is the operator's own, which pods are found by",
        ),
        (
            r"runtime.gpuProfile.podAnnotations.heliograph\.dev/manifest=x",
            "runtime.gpuProfile.podAnnotations: heliograph.dev/manifest is the operator's own",
        ),
        (
            r"runtime.gpuProfile.podLabels.concurrency-group\.heliograph\.dev/a=b",
            "runtime.gpuProfile.podLabels: concurrency-group.heliograph.dev/a is the operator's own",
        ),
        ("runtime.profiles.l4.priorityClassName=High", "runtime.profiles.l4.priorityClassName: Does not match"),
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


@pytest.mark.parametrize(
    ("value", "setting", "text"),
    [
        ("corsOrigins", "cors_origins", "https://app.test/"),
        ("corsOrigins", "cors_origins", "https://app.test/path"),
        ("corsOrigins", "cors_origins", "https://app.test?query"),
        ("corsOrigins", "cors_origins", "https://app.test#part"),
        ("corsOrigins", "cors_origins", "app.test"),
        ("externalUrl", "external_url", "https://images.test?query"),
        ("externalUrl", "external_url", "https://images.test/?"),
        ("externalUrl", "external_url", "https://images.test/#part"),
        ("externalUrl", "external_url", "https://images.test/a|b"),
        ("externalUrl", "external_url", "https://images.test/a\\b"),
        ("externalUrl", "external_url", "https://bücher.test"),
        ("externalUrl", "external_url", "https://user@images.test"),
        ("externalUrl", "external_url", "https://:443/"),
        ("imageUrl.hosts", "image_url_hosts", "https://images.test"),
        ("imageUrl.hosts", "image_url_hosts", "images.test/"),
        ("imageUrl.hosts", "image_url_hosts", "images.test?query"),
        ("imageUrl.hosts", "image_url_hosts", "user@images.test"),
        ("imageUrl.privateHosts", "image_url_private_hosts", "http://minio:9000"),
        ("imageUrl.privateHosts", "image_url_private_hosts", "*"),
        ("imageUrl.privateHosts", "image_url_private_hosts", "*:9000"),
    ],
)
def test_what_the_gateway_would_not_start_with_is_refused(
    helm: Callable[..., str], value: str, setting: str, text: str
) -> None:
    given = text if setting == "external_url" else [text]
    with pytest.raises(ValidationError, match=setting):
        GatewaySettings.model_validate({setting: given})
    with pytest.raises(AssertionError, match=f"gateway.{value}.*: Does not match pattern"):
        helm("template", "heliograph", CHARTS / "heliograph", "--set-json", f"gateway.{value}={json.dumps(given)}")


@pytest.mark.parametrize(
    ("value", "setting", "given"),
    [
        ("corsOrigins", "cors_origins", ["*", "http://localhost:3000", "https://a-b.test", "http://[::1]:80"]),
        ("externalUrl", "external_url", "https://images.example.org:8443/a/b~c/%20;d=@e,[f]"),
        ("externalUrl", "external_url", "http://[fd00::1]:80/"),
        ("imageUrl.hosts", "image_url_hosts", ["*", "*:8080", "*.a.test", "bücher.test:81", "[fd00::1]:80", "a_1"]),
        ("imageUrl.privateHosts", "image_url_private_hosts", ["*.a.test:9000", "10.1.2.3", "[fd00::1]", "a,b", " a"]),
    ],
)
def test_what_the_gateway_starts_with_is_taken(
    helm: Callable[..., str], value: str, setting: str, given: str | list[str]
) -> None:
    text = given if isinstance(given, str) else ",".join(given)
    GatewaySettings.model_validate({setting: text})
    option = f"gateway.{value}={json.dumps(given)}"
    rendered = helm("template", "heliograph", CHARTS / "heliograph", "--set-json", option)
    assert f"value: {json.dumps(text, ensure_ascii=False)}\n" in rendered


def test_large_numbers_are_written_as_numbers(render: Render, tmp_path: Path) -> None:
    """Helm has those of a file as floats, and writes them as 2e+06, which no setting for a whole number takes."""
    large = 2_000_000
    values = {
        "gateway": {"hold": {"seconds": large, "perModel": large, "atReplica": large}},
        # Settings that need not be whole are floats here, too.
        "operator": {"autoscaling": {"seconds": 0.5}},
    }
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    objects = render("heliograph", "--values", str(tmp_path / "values.yaml"))
    told = [
        value
        for component in ("gateway", "operator")
        for value in environment(
            only(objects, "Deployment", f"heliograph-{component}")["spec"]["template"]["spec"]
        ).values()
    ]
    assert told.count(str(large)) == 3
    assert "0.5" in told


@pytest.mark.parametrize("chart", ["heliograph", "heliograph-crds", "heliograph-models"])
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


def test_a_value_that_is_taken_away_is_missed() -> None:
    """As `--set NAME=null` does, and `--reuse-values` with a newer chart; templates would fail without saying why."""
    schema = json.loads((CHARTS / "heliograph" / "values.schema.json").read_text())
    values = yaml.safe_load((CHARTS / "heliograph" / "values.yaml").read_text())
    optional = {"operator.resources", "gateway.resources", "runtime.gpuProfile"}

    def compare(schema: dict[str, Any], values: dict[str, Any], place: str) -> None:
        needed = {key for key in values if f"{place}{key}" not in optional}
        assert set(schema["required"]) == needed, place
        for key in needed:
            if "properties" in schema["properties"][key]:
                compare(schema["properties"][key], values[key], f"{place}{key}.")

    compare(schema, values, "")


@pytest.mark.parametrize("option", ["operator.resources=null", "gateway.resources=null", "runtime.gpuProfile=null"])
def test_what_may_be_left_out_can_be(helm: Callable[..., str], option: str) -> None:
    helm("template", "heliograph", CHARTS / "heliograph", "--set", option)


def test_the_schema_knows_profiles_as_the_operator_does() -> None:
    """What the chart lets pass and the operator does not would keep it from starting."""
    definitions = json.loads((CHARTS / "heliograph" / "values.schema.json").read_text())["definitions"]

    def keys(model: type[BaseModel]) -> set[str]:
        return {field.alias or name for name, field in model.model_fields.items()}

    models: dict[str, type[BaseModel]] = {"profile": Profile, "resources": Resources, "toleration": Toleration}
    for name, model in models.items():
        assert definitions[name]["properties"].keys() == keys(model)
    assert definitions["images"]["properties"].keys() == set(get_args(Engine))
