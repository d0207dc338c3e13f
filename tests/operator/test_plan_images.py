"""How the nodes come by the images of a model's pods."""

from collections.abc import Iterator
from typing import Any

import pytest

from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.children import plan_children
from heliograph_operator.settings import OperatorSettings


def pods(cache: str, **given: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    spec = {"parameters": {"model": "owner/name"}, "serving": {"cache": {"mode": cache}}}
    model = ImageModel.from_object({"metadata": {"name": "m", "namespace": "n", "uid": "1"}, "spec": spec})
    for child in plan_children(model=model, settings=OperatorSettings.model_validate(given)):
        if "template" in child.get("spec", {}):
            yield child["kind"], child["spec"]["template"]["spec"]


@pytest.mark.parametrize(("cache", "kinds"), [("perModel", {"Job", "Deployment"}), ("ephemeral", {"Deployment"})])
def test_runtimes_and_fetchers_are_pulled_with_the_administrators_secrets(cache: str, kinds: set[str]) -> None:
    found = dict(pods(cache, image_pull_secrets="registry, mirror"))
    assert found.keys() == kinds
    for pod in found.values():
        assert pod["imagePullSecrets"] == [{"name": "registry"}, {"name": "mirror"}]


def test_without_secrets_a_pod_says_nothing_of_them() -> None:
    assert all("imagePullSecrets" not in pod for _, pod in pods("perModel"))


def test_a_name_that_no_secret_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match="must be the name of a Kubernetes object"):
        OperatorSettings(image_pull_secrets=("My Registry",))
