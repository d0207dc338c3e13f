"""What a shared claim tells of a model, and the Job that removes what a model left in it."""

import json
from typing import Any

import pytest

from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.claim import Share, is_last, is_shared, left_part, plan_shared_claim, sharers
from heliograph_operator.plan.collection import plan_collect_job, plan_collector_network_policy
from heliograph_operator.plan.fetched import Fetched
from heliograph_operator.resources import IMAGE_MODELS, Resource
from heliograph_operator.settings import OperatorSettings

CHILD = naming.child_name("dream")
FOLDER = f"{CHILD}-01234567"
MARK = f"weights.heliograph.dev/{CHILD}"


def claim(share: Share) -> dict[str, Any]:
    metadata = {"name": "dream", "namespace": "art", "uid": "1"}
    spec = {"parameters": {"model": "a/b"}, "serving": {"cache": {"mode": "sharedRWX"}}}
    obj = {"apiVersion": naming.API_VERSION, "kind": naming.KIND, "metadata": metadata, "spec": spec}
    planned = plan_shared_claim(model=ImageModel.from_object(obj), settings=OperatorSettings(), share=share)
    planned["metadata"]["uid"] = "2"
    return planned


def test_a_share_is_read_as_it_was_written() -> None:
    share = Share(Fetched(FOLDER, 3, "ab", {"field": "commit"}), frozenset({FOLDER, f"{CHILD}-76543210"}))

    assert is_shared(claim(share))
    assert Share.read(claim(share), "dream") == share
    assert Share.read(claim(share), "other") is None
    assert sharers(claim(share)) == ["dream"]


def test_a_claim_can_not_have_others_folders_removed() -> None:
    """Whoever may write the claim may write the annotation."""
    names = [FOLDER, "..", "", naming.child_name("other") + "-01234567", f"{CHILD}-0123/../x", f"{CHILD},other-1"]
    told = {"model": "dream", "folders": names, "fetched": None}
    written = {"metadata": {"annotations": {MARK: json.dumps(told)}}}

    assert Share.read(written, "dream") == Share(folders=frozenset({FOLDER}))


@pytest.mark.parametrize(
    "text", ["", "[]", "3", "{}", '{"folders": 3, "fetched": null}', '{"folders": [3], "fetched": {}}']
)
def test_somebody_elses_words_are_no_share(text: str) -> None:
    written = {"metadata": {"annotations": {MARK: text}}}

    assert Share.read(written, "dream") is None
    assert sharers(written) == []


def test_what_is_left_when_a_model_uses_a_claim_no_more() -> None:
    used = claim(Share(Fetched(FOLDER), frozenset({FOLDER})))
    left = left_part(used, "dream", [FOLDER])

    assert left["metadata"]["uid"] == "2", "no other claim is made for it"
    assert "ownerReferences" not in left["metadata"]
    assert left["spec"] == used["spec"], "perhaps nobody else applies it"
    assert Share.read(left, "dream") == Share(folders=frozenset({FOLDER}))
    assert left_part(used, "dream", [])["metadata"]["annotations"] == {}


def test_who_is_last() -> None:
    used = claim(Share())
    assert is_last(used, "dream")
    assert not is_last(used, "other")
    used["metadata"]["annotations"] |= Share().annotation("gone")
    assert not is_last(used, "dream")


def test_the_job_removes_one_folder_and_may_nothing_else() -> None:
    settings = OperatorSettings(image_pull_secrets=("pull",), fetch_retry_seconds=7.5, fetcher_env={"A": "b"})
    used = claim(Share())
    job = plan_collect_job(claim=used, name="dream", folder=FOLDER, settings=settings)
    pod, labels = (job["spec"]["template"][part] for part in ("spec", "metadata"))
    (container,) = pod["containers"]

    assert job["metadata"]["name"] == f"{FOLDER}-gc"
    assert container["command"] + container["args"] == [
        "heliograph",
        "collect",
        "--volume",
        "/weights",
        "--remove",
        FOLDER,
    ]
    assert "env" not in container
    assert "envFrom" not in container
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert pod["automountServiceAccountToken"] is False
    assert job["spec"]["ttlSecondsAfterFinished"] == 8
    policy = plan_collector_network_policy(claim=used)
    assert policy["spec"]["podSelector"]["matchLabels"] == labels["labels"]
    assert (policy["spec"]["ingress"], policy["spec"]["egress"]) == ([], [])
    assert {tuple(it["metadata"]["ownerReferences"][0].items()) for it in (job, policy)} == {
        tuple(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "controller": True,
                "blockOwnerDeletion": False,
                "name": "heliograph-weights",
                "uid": "2",
            }.items()
        )
    }


@pytest.mark.parametrize("resource", [IMAGE_MODELS, Resource("v1", "Pod", "pods")])
def test_a_name_stays_one_segment_of_a_path(resource: Resource) -> None:
    assert resource.path("art", "a/../../b?c#d") == f"{resource.path('art')}/a%2F..%2F..%2Fb%3Fc%23d"
