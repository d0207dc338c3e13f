"""From a source to a Deployment: the Job that fetches, what it tells, and when pods may start.

Jobs and their pods are made by the real controllers; the fetcher is the real one, run as the Job's template says.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from cluster.waiting import eventually
from fetcher_pods import NODE, Fetch, fetching_pod
from heliograph_api import naming
from operator_rig import Served, running_operator
from runtime.file_host import FileHost, file_host

RETRY_SECONDS = 3


@pytest.fixture
def fetching(unserved: Served, _fetchers_node: None, tmp_path: Path) -> Iterator[Served]:
    options = ("--namespaces", unserved.namespace, "--fetch-retry-seconds", str(RETRY_SECONDS))
    with running_operator(tmp_path, unserved.kubeconfig, *options) as operator:
        operator.wait_until_ready()
        yield unserved


@pytest.fixture
def host() -> Iterator[FileHost]:
    with file_host() as running:
        running.files = {"/dream.safetensors": safetensors(40_000_000)}
        yield running


def safetensors(size: int) -> bytes:
    """Return a file of weights of about that many bytes, which nothing but the fetcher reads."""
    return save({"t": np.zeros(size, np.uint8)})


def job_of(served: Served, *, but: str = "") -> dict[str, Any]:
    """Wait for the one Job of a namespace that is not called `but`, and return it."""
    return eventually(
        lambda: next((job for job in served.items("Job") if job["metadata"]["name"] != but), None), what="fetch Job"
    )


def fetch(
    served: Served, job: dict[str, Any], volume: Path, folder: Path, **settings: str
) -> AbstractContextManager[Fetch]:
    """Run the pod of a Job, with settings of the fetcher beside those that it has."""
    env = {f"HELIOGRAPH_FETCH_{name}": value for name, value in settings.items()}
    return fetching_pod(served.cluster.admin, job, node=NODE, volume=volume, folder=folder, env=env)


def weights(served: Served, name: str) -> dict[str, Any]:
    model = served.get("ImageModel", name)
    found: dict[str, Any] = ((model or {}).get("status") or {}).get("weights") or {}
    return found


def sub_path(served: Served, name: str) -> str | None:
    deployment = served.child("Deployment", name)
    if deployment is None:
        return None
    mounts = deployment["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    return str(next(mount["subPath"] for mount in mounts if mount["mountPath"] == "/models"))


def test_pods_start_when_the_weights_are_there(fetching: Served, host: FileHost, tmp_path: Path) -> None:
    host.hold_after = 20_000_000
    fetching.apply("dream", {"parameters": {"model": host.url("/dream.safetensors")}})
    job = job_of(fetching)
    with fetch(fetching, job, tmp_path, tmp_path / "run") as run:
        progress = eventually(
            lambda: re.match(r"([1-9]\d) % of 40 MB", weights(fetching, "dream").get("summary", "")), what="progress"
        )
        assert int(progress[1]) <= 50
        assert int(progress[1]) <= weights(fetching, "dream")["percent"] <= 50
        fetching.wait_for_condition("dream", "Ready", "Fetching")
        assert fetching.child("Deployment", "dream") is None
        host.released.set()
        run.end()
    condition = fetching.wait_for_condition("dream", "WeightsCached", "Fetched")

    folder = job["metadata"]["name"]
    assert condition["status"] == "True"
    assert sub_path(fetching, "dream") == f"models/{folder}"
    assert (tmp_path / "models" / folder / "model" / "dream.safetensors").read_bytes() == host.files[
        "/dream.safetensors"
    ]
    eventually(lambda: not fetching.items("Job"), what="end of the Job that is done")
    assert weights(fetching, "dream") == {
        "summary": "40 MB",
        "bytes": len(host.files["/dream.safetensors"]),
        "folder": folder,
        "sha256": hashlib.sha256(host.files["/dream.safetensors"]).hexdigest(),
    }


def test_other_weights_come_before_the_pods_that_need_them(fetching: Served, host: FileHost, tmp_path: Path) -> None:
    fetching.apply("dream", {"parameters": {"model": host.url("/dream.safetensors")}})
    first = job_of(fetching)
    with fetch(fetching, first, tmp_path, tmp_path / "first") as run:
        run.end()
    fetching.wait_for_condition("dream", "WeightsCached", "Fetched")
    before = sub_path(fetching, "dream")

    fetching.apply("dream", {"parameters": {"model": host.url("/missing.safetensors")}, "serving": {"replicas": 2}})
    second = job_of(fetching, but=first["metadata"]["name"])
    eventually(lambda: (fetching.child("Deployment", "dream") or {})["spec"]["replicas"] == 2, what="two replicas")
    with fetch(fetching, second, tmp_path, tmp_path / "second") as run:
        run.end()
    condition = fetching.wait_for_condition("dream", "WeightsCached", "WeightsNotFound")
    assert "spec.parameters.model" in condition["message"]
    assert sub_path(fetching, "dream") == before, "the old weights serve on"
    uid = second["metadata"]["uid"]
    again = eventually(
        lambda: next((job for job in fetching.items("Job") if job["metadata"]["uid"] != uid), None), what="another try"
    )

    host.files["/missing.safetensors"] = safetensors(1000)
    with fetch(fetching, again, tmp_path, tmp_path / "again") as run:
        run.end()
    fetching.wait_for_condition("dream", "WeightsCached", "Fetched")
    assert sub_path(fetching, "dream") == f"models/{again['metadata']['name']}"
    kept = {path.name for path in (tmp_path / "models").iterdir()}
    assert kept == {first["metadata"]["name"], again["metadata"]["name"]}, "old pods may still read the old ones"


def test_weights_whose_volume_is_gone_are_fetched_anew(fetching: Served, host: FileHost, tmp_path: Path) -> None:
    fetching.apply("dream", {"parameters": {"model": host.url("/dream.safetensors")}})
    first = job_of(fetching)
    with fetch(fetching, first, tmp_path, tmp_path / "run") as run:
        run.end()
    fetching.wait_for_condition("dream", "WeightsCached", "Fetched")
    claim = fetching.child("PersistentVolumeClaim", "dream")
    assert claim is not None
    assert json.loads(claim["metadata"]["annotations"]["heliograph.dev/weights"])["bytes"] > 40_000_000
    # Only of a claim that is going does its controller, which sees pods that no kubelet ends, let a finalizer be taken.
    fetching.patch(
        "PersistentVolumeClaim", naming.child_name("dream"), {"metadata": {"finalizers": ["example.org/held"]}}
    )
    fetching.kubectl("delete", "--wait=false", "pvc", naming.child_name("dream"))
    fetching.patch("PersistentVolumeClaim", naming.child_name("dream"), {"metadata": {"finalizers": None}})

    eventually(
        lambda: [job for job in fetching.items("Job") if job["metadata"]["uid"] != first["metadata"]["uid"]],
        what="another fetch",
    )
    # Fetching, or waiting for a volume, which nothing makes here.
    eventually(lambda: fetching.conditions("dream")["WeightsCached"]["status"] == "False", what="word of it")


def test_a_job_that_somebody_changed_or_deleted_is_made_anew(fetching: Served, host: FileHost) -> None:
    fetching.apply("dream", {"parameters": {"model": host.url("/dream.safetensors")}})
    job = job_of(fetching)
    fetching.patch("Job", job["metadata"]["name"], {"spec": {"backoffLimit": 0}})

    other = eventually(
        lambda: next((it for it in fetching.items("Job") if it["metadata"]["uid"] != job["metadata"]["uid"]), None),
        what="another Job",
    )
    assert other["spec"]["backoffLimit"] == job["spec"]["backoffLimit"]
    fetching.kubectl("delete", "job", other["metadata"]["name"])
    eventually(
        lambda: next((it for it in fetching.items("Job") if it["metadata"]["uid"] != other["metadata"]["uid"]), None),
        what="a third Job",
    )


def test_the_claim_of_a_model_goes_with_it(fetching: Served, host: FileHost) -> None:
    fetching.apply("dream", {"parameters": {"model": host.url("/dream.safetensors")}})
    job_of(fetching)
    fetching.kubectl("delete", "imagemodel", "dream")
    eventually(lambda: not fetching.items("Job"), what="end of the Job", timeout=120)
    eventually(lambda: not fetching.items("PersistentVolumeClaim"), what="end of the claim", timeout=120)


def owners(served: Served) -> list[str]:
    """Return whose the one claim of a namespace is."""
    (claim,) = served.items("PersistentVolumeClaim")
    return [owner["name"] for owner in claim["metadata"]["ownerReferences"]]


def test_models_share_a_volume(fetching: Served, host: FileHost, tmp_path: Path) -> None:
    shared = {"serving": {"cache": {"mode": "sharedRWX"}}}
    for name in ("first", "second"):
        fetching.apply(name, {"parameters": {"model": host.url("/dream.safetensors")}, **shared})
    eventually(lambda: len(fetching.items("Job")) == 2, what="two Jobs")
    for number, job in enumerate(fetching.items("Job")):
        with fetch(fetching, job, tmp_path, tmp_path / str(number)) as run:
            run.end()
    for name in ("first", "second"):
        fetching.wait_for_condition(name, "WeightsCached", "Fetched")

    (claim,) = fetching.items("PersistentVolumeClaim")
    assert claim["metadata"]["name"] == "heliograph-weights"
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert set(owners(fetching)) == {"first", "second"}
    assert len(list((tmp_path / "blobs").iterdir())) == 1, "what two models have in common lies there once"
    assert len(host.reads("/dream.safetensors")) == 1
    places = {name: weights(fetching, name)["folder"] for name in ("first", "second")}

    fetching.kubectl("delete", "imagemodel", "first")
    eventually(lambda: owners(fetching) == ["second"], what="end of one owner", timeout=120)
    fetching.apply("third", {"parameters": {"model": host.url("/dream.safetensors")}, **shared})
    job = job_of(fetching, but=f"{places['first']}-gc")
    with fetch(fetching, job, tmp_path, tmp_path / "third", UNCHANGED_SECONDS="0") as run:
        run.end()
    fetching.wait_for_condition("third", "WeightsCached", "Fetched")
    kept = {path.name for path in (tmp_path / "models").iterdir()}
    assert kept == {*places.values(), job["metadata"]["name"]}, "pods may use the deleted model's still"


def test_a_volume_that_is_shared_is_the_administrators_to_size(fetching: Served) -> None:
    cache = {"mode": "sharedRWX", "size": "1Gi"}
    fetching.apply("dream", {"parameters": {"model": "hf://nobody/nothing"}, "serving": {"cache": cache}})
    condition = fetching.wait_for_condition("dream", "Accepted", "InvalidSpec")
    assert "spec.serving.cache.size" in condition["message"]


def test_a_claim_of_somebody_elses_is_not_shared(fetching: Served) -> None:
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    fetching.apply("heliograph-weights", spec, kind="PersistentVolumeClaim")
    fetching.apply(
        "dream", {"parameters": {"model": "hf://nobody/nothing"}, "serving": {"cache": {"mode": "sharedRWX"}}}
    )
    condition = fetching.wait_for_condition("dream", "NameConflict", "NameTaken")
    assert "PersistentVolumeClaim heliograph-weights" in condition["message"]
    assert fetching.items("Job") == [], "nothing of ours is written into it"
