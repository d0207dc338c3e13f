"""What a profile adds to the pods of its models beside hardware: a PriorityClass, labels and annotations."""

from typing import Any

import pytest

from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.children import plan_children
from heliograph_operator.settings import OperatorSettings

QUEUED: dict[str, Any] = {
    "gpuResource": "nvidia.com/gpu",
    "priorityClassName": "pictures",
    "podLabels": {"kueue.x-k8s.io/queue-name": "images"},
    "podAnnotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
}


def pods(*, profile: dict[str, Any], cache: str = "perModel") -> dict[str, dict[str, Any]]:
    """Return the pod templates of a model that is fetched, by the kind of their owner."""
    spec = {"parameters": {"model": "hf://a/b"}, "cuda": True, "serving": {"cache": {"mode": cache}}}
    model = ImageModel.from_object({"metadata": {"name": "m", "namespace": "n", "uid": "1"}, "spec": spec})
    children = plan_children(model=model, settings=OperatorSettings.model_validate({"gpu_profile": profile}))
    return {child["kind"]: child["spec"]["template"] for child in children if child["kind"] in {"Deployment", "Job"}}


@pytest.mark.parametrize("cache", ["perModel", "ephemeral"])
def test_pods_have_what_the_profile_adds(cache: str) -> None:
    runtime = pods(profile=QUEUED, cache=cache)["Deployment"]
    plain = pods(profile={"gpuResource": "nvidia.com/gpu"}, cache=cache)["Deployment"]
    assert runtime["spec"] == {**plain["spec"], "priorityClassName": "pictures"}
    assert runtime["metadata"] == {
        "labels": {**plain["metadata"]["labels"], **QUEUED["podLabels"]},
        "annotations": {**plain["metadata"]["annotations"], **QUEUED["podAnnotations"]},
    }
    assert naming.selector_labels("m").items() <= runtime["metadata"]["labels"].items()


def test_the_job_that_fetches_has_the_priority_class_alone() -> None:
    job, plain = pods(profile=QUEUED)["Job"], pods(profile={"gpuResource": "nvidia.com/gpu"})["Job"]
    assert job["spec"] == {**plain["spec"], "priorityClassName": "pictures"}
    assert job["metadata"] == plain["metadata"]
