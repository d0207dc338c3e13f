"""Claims that are there when their ImageModels or the settings change: what the API server takes, and what is told."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster.waiting import eventually
from heliograph_operator.plan.fetched import RECORD_ANNOTATION
from operator_rig import Served, running_operator

SHARED = "heliograph-weights"


@contextmanager
def operating(served: Served, folder: Path, *options: str) -> Iterator[None]:
    with running_operator(folder, served.kubeconfig, "--namespaces", served.namespace, *options) as operator:
        operator.wait_until_ready()
        yield


def spec(model: str, **cache: str) -> dict[str, Any]:
    return {"parameters": {"model": f"hf://somebody/{model}"}, "serving": {"replicas": 1, "cache": cache}}


def end_fetch(served: Served) -> None:
    """Have the one fetch Job end well, as a kubelet tells it."""
    pods = "app.kubernetes.io/component"

    def unfinished() -> dict[str, Any] | None:
        found = served.items("Pod", **{pods: "fetcher"})
        return next((pod for pod in found if pod["status"].get("phase") == "Pending"), None)

    pod = eventually(unfinished, what="pod of a fetch Job")
    path = f"/api/v1/namespaces/{served.namespace}/pods/{pod['metadata']['name']}/status"
    media_type = {"Content-Type": "application/merge-patch+json"}
    served.cluster.admin.patch(path, headers=media_type, json={"status": {"phase": "Succeeded"}}).raise_for_status()


def claim_of(served: Served, name: str) -> dict[str, Any]:
    claim = served.child("PersistentVolumeClaim", name)
    assert claim is not None
    return claim


def record(claim: dict[str, Any]) -> str:
    """Return the folder of the weights that were fetched."""
    folder: str = json.loads(claim["metadata"]["annotations"][RECORD_ANNOTATION])["folder"]
    return folder


def room(claim: dict[str, Any]) -> str:
    size: str = claim["spec"]["resources"]["requests"]["storage"]
    return size


def test_another_class_and_less_room_leave_a_model_as_it_is(unserved: Served, tmp_path: Path) -> None:
    with operating(unserved, tmp_path):
        unserved.apply("dream", spec("first", storageClass="fast", size="20Gi"))
        end_fetch(unserved)
        unserved.wait_for_condition("dream", "WeightsCached", "Fetched")
        first = record(claim_of(unserved, "dream"))
        unserved.apply("dream", spec("second", storageClass="slow", size="10Gi"))
        end_fetch(unserved)
        eventually(lambda: record(claim_of(unserved, "dream")) != first, what="record of the second weights")
        unserved.wait_for_condition("dream", "WeightsCached", "Fetched")
        claim = claim_of(unserved, "dream")
        assert (claim["spec"]["storageClassName"], room(claim)) == ("fast", "20Gi")
        warnings = (unserved.get("ImageModel", "dream") or {})["status"]["warnings"]
        assert [warning["reason"] for warning in warnings] == ["VolumeKept", "VolumeKept"]
        assert "ApplyFailed" not in {condition["reason"] for condition in unserved.conditions("dream").values()}


def test_weights_are_kept_though_their_volume_cannot_grow(unserved: Served, tmp_path: Path) -> None:
    with operating(unserved, tmp_path):
        unserved.apply("dream", spec("first", storageClass="fast", size="20Gi"))
        eventually(lambda: unserved.items("Job"), what="Job")
        # Nothing makes a volume here, and a claim without one is never given more room.
        unserved.apply("dream", spec("first", storageClass="fast", size="30Gi"))
        refused = unserved.wait_for_condition("dream", "Progressing", "ApplyFailed")
        assert "PersistentVolumeClaim" in refused["message"]
        end_fetch(unserved)
        unserved.wait_for_condition("dream", "WeightsCached", "Fetched")
        claim = eventually(
            lambda: (
                claim
                if RECORD_ANNOTATION in (claim := claim_of(unserved, "dream"))["metadata"]["annotations"]
                else None
            ),
            what="record of the weights",
        )
        assert room(claim) == "20Gi"
        assert unserved.conditions("dream")["Progressing"]["reason"] == "ApplyFailed"
        eventually(lambda: not unserved.items("Job"), what="end of the Job that is done")


@pytest.mark.parametrize(
    "options",
    [("--cache-shared-size", "900Gi"), ("--cache-shared-size", "1Gi"), ("--cache-storage-class", "other")],
    ids=["more", "less", "another class"],
)
def test_models_fetch_into_the_claim_of_their_namespace_whatever_is_asked_of_it_later(
    unserved: Served, tmp_path: Path, options: tuple[str, ...]
) -> None:
    with operating(unserved, tmp_path, "--cache-shared-size", "500Gi", "--cache-storage-class", "fast"):
        unserved.apply("dream", spec("first", mode="sharedRWX"))
        end_fetch(unserved)
        unserved.wait_for_condition("dream", "WeightsCached", "Fetched")
    options = (*options, *(() if "--cache-storage-class" in options else ("--cache-storage-class", "fast")))
    with operating(unserved, tmp_path, *options):
        unserved.apply("dream", spec("second", mode="sharedRWX"))
        unserved.apply("day", spec("third", mode="sharedRWX"))
        end_fetch(unserved)
        end_fetch(unserved)
        eventually(lambda: unserved.child("Deployment", "day"), what="Deployment of another model")
        claim = unserved.get("PersistentVolumeClaim", SHARED) or {}
        assert (claim["spec"]["storageClassName"], room(claim)) == ("fast", "500Gi")
