"""The authorities that fetchers trust: mounted where weights are fetched, and nowhere else."""

from typing import Any

import pytest

from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.children import plan_children
from heliograph_operator.settings import OperatorSettings

BUNDLE = {"fetcher_ca_config_map": "authorities", "fetcher_ca_key": "bundle.pem"}
PATH = "/etc/heliograph/ca/ca.crt"


def pods(cache: str, **settings: Any) -> dict[str, dict[str, Any]]:
    """Return the specs of the pods of a model that is fetched, by the kind of their owner."""
    spec = {"parameters": {"model": "hf://a/b"}, "serving": {"cache": {"mode": cache}}}
    model = ImageModel.from_object({"metadata": {"name": "m", "namespace": "n", "uid": "1"}, "spec": spec})
    children = plan_children(model=model, settings=OperatorSettings(**settings))
    templates = {it["kind"]: it["spec"]["template"] for it in children if it["kind"] in {"Deployment", "Job"}}
    return {kind: template["spec"] for kind, template in templates.items()}


def fetching(found: dict[str, dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the pod that fetches, and the container of it that does."""
    pod = found.get("Job", found["Deployment"])
    (container,) = pod["containers"] if "Job" in found else pod["initContainers"]
    return pod, container


@pytest.mark.parametrize("cache", ["perModel", "sharedRWX", "ephemeral"])
def test_a_fetcher_is_pointed_to_the_bundle(cache: str) -> None:
    pod, container = fetching(pods(cache, **BUNDLE))
    (volume,) = (volume for volume in pod["volumes"] if volume["name"] == "ca")
    assert volume["configMap"] == {"name": "authorities", "items": [{"key": "bundle.pem", "path": "ca.crt"}]}
    assert {"name": "ca", "mountPath": "/etc/heliograph/ca", "readOnly": True} in container["volumeMounts"]
    assert {"name": "SSL_CERT_FILE", "value": PATH} in container["env"]


@pytest.mark.parametrize("cache", ["perModel", "sharedRWX", "ephemeral"])
def test_runtimes_have_no_part_in_it(cache: str) -> None:
    plain, given = (pods(cache, **settings)["Deployment"] for settings in ({}, BUNDLE))
    assert given["containers"] == plain["containers"]
    if cache != "ephemeral":
        assert given == plain


def test_what_is_said_by_hand_counts() -> None:
    _, container = fetching(pods("perModel", **BUNDLE, fetcher_env={"SSL_CERT_FILE": "/weights/ca.crt"}))
    values = [item["value"] for item in container["env"] if item["name"] == "SSL_CERT_FILE"]
    assert values == ["/weights/ca.crt"]
