"""What is planned of a claim that is there: only what can still be changed."""

from typing import Any

import pytest

from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.children import plan
from heliograph_operator.plan.claim import Share, at_present_size, claim_warnings, plan_claim, plan_shared_claim
from heliograph_operator.resources import Object
from heliograph_operator.settings import OperatorSettings

SETTINGS = OperatorSettings(cache_size="20Gi", cache_shared_size="200Gi", cache_storage_class="fast")


def image_model(**cache: str) -> ImageModel:
    spec = {"parameters": {"model": "hf://somebody/dream"}, "serving": {"cache": cache}}
    return ImageModel.from_object({"metadata": {"name": "dream", "namespace": "n", "uid": "u"}, "spec": spec})


def present(size: str = "50Gi", **spec: Any) -> Object:
    found = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
    return {"metadata": {"name": "dream-0", "uid": "2"}, "spec": found}


def planned(model: ImageModel, claim: Object | None = None) -> Object:
    spec: Object = plan_claim(model=model, settings=SETTINGS, fetched=None, present=claim)["spec"]
    return spec


def room(spec: Object) -> str:
    size: str = spec["resources"]["requests"]["storage"]
    return size


def test_a_claim_is_made_as_is_asked_for() -> None:
    spec = planned(image_model(size="5Gi", storageClass="slow"))
    assert (room(spec), spec["storageClassName"]) == ("5Gi", "slow")
    assert (room(planned(image_model())), planned(image_model())["storageClassName"]) == ("20Gi", "fast")


def test_the_class_of_a_claim_stays() -> None:
    assert planned(image_model(storageClass="slow"), present(storageClassName="old"))["storageClassName"] == "old"
    assert planned(image_model(), present(storageClassName=""))["storageClassName"] == ""


@pytest.mark.parametrize(
    ("has", "wanted", "becomes"),
    [
        ("50Gi", "5Gi", "50Gi"),
        ("50Gi", "60Gi", "60Gi"),
        ("50Gi", "51200Mi", "50Gi"),
        ("1Ti", "1024Gi", "1Ti"),
        ("1T", "1Ti", "1Ti"),
        ("1Ti", "1T", "1Ti"),
        ("2e12", "1E", "1E"),
        ("1500m", "1", "1500m"),
    ],
)
def test_a_claim_grows_and_never_shrinks(has: str, wanted: str, becomes: str) -> None:
    assert room(planned(image_model(size=wanted), present(has))) == becomes


def test_a_volume_that_cannot_grow_keeps_its_size_and_gets_the_rest() -> None:
    claim = plan_claim(model=image_model(size="60Gi"), settings=SETTINGS, fetched=None)
    kept = at_present_size(claim, present())
    assert room(kept["spec"]) == "50Gi"
    assert kept["metadata"] == claim["metadata"]


def test_the_claim_of_a_namespace_keeps_what_it_has_too() -> None:
    claim = {**present("1Ti", storageClassName="old", accessModes=["ReadWriteMany", "ReadOnlyMany"])}
    part = plan_shared_claim(model=image_model(), settings=SETTINGS, share=Share(), present=claim)
    assert part["spec"] == claim["spec"]
    assert part["metadata"]["uid"] == "2", "no other claim is made for it"


def test_who_asks_for_what_cannot_be_had_any_more_is_told() -> None:
    claim = present(storageClassName="fast")
    told = claim_warnings(model=image_model(storageClass="slow", size="5Gi"), present=claim)
    assert {warning.reason for warning in told} == {"VolumeKept"}
    (by_class, by_size) = (warning.message for warning in told)
    assert "spec.serving.cache.storageClass is slow, but the PersistentVolumeClaim dream-0 has fast" in by_class
    assert "spec.serving.cache.size is 5Gi, but the PersistentVolumeClaim dream-0 has 50Gi" in by_size


@pytest.mark.parametrize("cache", [{}, {"storageClass": "fast"}, {"size": "50Gi"}, {"size": "60Gi"}])
def test_and_nobody_else_is(cache: dict[str, str]) -> None:
    assert claim_warnings(model=image_model(**cache), present=present(storageClassName="fast")) == []
    assert claim_warnings(model=image_model(**cache), present=None) == []


@pytest.mark.parametrize(("cache", "told"), [({"size": "5Gi"}, 1), ({"size": "5Gi", "mode": "perModel"}, 0), ({}, 0)])
def test_a_size_of_a_volume_that_models_share_is_without_effect(cache: dict[str, str], told: int) -> None:
    """By the administrator's default; where the ImageModel asks for that mode itself, its size is an error."""
    settings = OperatorSettings(cache_mode="sharedRWX")
    warnings = plan(model=image_model(**cache), settings=settings).warnings
    assert [warning.reason for warning in warnings] == ["NoEffect"] * told
    assert all("spec.serving.cache.size has no effect" in warning.message for warning in warnings)
