"""Sources other than URLs and Hugging Face's hub, each a real server or one with the API of the real one."""

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from heliograph_api.exits import FETCH_PERMANENT, FetchResult
from heliograph_api.sources import BucketSource, RegistrySource
from heliograph_runtime.weights.bucket import list_bucket
from heliograph_runtime.weights.choice import read_index
from heliograph_runtime.weights.errors import FetchError
from heliograph_runtime.weights.registry import list_artifact
from runtime.fetching import Fetch, start_fetch
from runtime.file_host import FileHost, file_host
from runtime.modelscope_host import add_modelscope
from runtime.object_store import KEY, ObjectStore, object_store
from runtime.registry_host import Registry, registry

FIELD = "spec.parameters.model"
WEIGHTS = b"GGUF" + random.Random(2).randbytes(3_000_000)
INDEX = b'{"_class_name": "P", "unet": ["diffusers", "U"]}'
PIPELINE = {"model_index.json": INDEX, "unet/config.json": b"{}", "unet/model.safetensors": b"unet"}


@pytest.fixture
def host() -> Iterator[FileHost]:
    with file_host() as running:
        yield running


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with object_store(tmp_path_factory.mktemp("store")) as running:
        running.put("models", {"dev.gguf": WEIGHTS, **{f"sd/{path}": content for path, content in PIPELINE.items()}})
        running.put("public", PIPELINE, acl="public-read")
        running.put("pickles", {"sd.ckpt": b"pickle", "only/sd.ckpt": b"pickle"})
        yield running


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


def model(source: str, **more: Any) -> dict[str, Any]:
    return {"backend": "stablediffusion-ggml", "parameters": {"model": source}, **more}


def ended(fetch: Fetch) -> tuple[int, FetchResult]:
    with fetch.leash:
        return fetch.wait()


def in_model(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"model/{path}": content for path, content in files.items()}


def test_modelscope(host: FileHost, tmp_path: Path) -> None:
    commit = add_modelscope(host, "a/b", {**PIPELINE, "README.md": b"#"})
    environment = {"MODELSCOPE_ENDPOINT": host.url(""), "MODELSCOPE_API_TOKEN": "canary"}
    fetch = start_fetch(tmp_path, model("modelscope://a/b"), environment=environment)

    status, result = ended(fetch)

    assert (status, result.revisions) == (0, {FIELD: commit})
    assert fetch.files() == in_model(PIPELINE)
    assert {seen[2] for seen in host.seen} == {"Bearer canary"}
    assert set(host.cookies) == {"m_session_id=canary"}
    assert "canary" not in fetch.log


def test_a_revision_of_modelscope(host: FileHost, tmp_path: Path) -> None:
    add_modelscope(host, "a/b", {"x.gguf": b"GGUF new"})
    commit = add_modelscope(host, "a/b", {"x.gguf": b"GGUF old"}, revision="v1")
    fetch = start_fetch(
        tmp_path, model("modelscope://a/b/x.gguf@v1"), environment={"MODELSCOPE_ENDPOINT": host.url("")}
    )

    assert ended(fetch)[1].revisions == {FIELD: commit}
    assert fetch.files() == {"model/x.gguf": b"GGUF old"}


def test_a_file_of_modelscope_that_is_another(host: FileHost, tmp_path: Path) -> None:
    add_modelscope(host, "a/b", {"x.gguf": b"GGUF"})
    host.queries["/api/v1/models/a/b/repo", "Revision=master&FilePath=x.gguf"] = b"FUGG"
    fetch = start_fetch(tmp_path, model("modelscope://a/b/x.gguf"), environment={"MODELSCOPE_ENDPOINT": host.url("")})

    assert ended(fetch)[1].reason == "ChecksumMismatch"


def test_no_such_repository_at_modelscope(host: FileHost, tmp_path: Path) -> None:
    fetch = start_fetch(tmp_path, model("modelscope://a/b"), environment={"MODELSCOPE_ENDPOINT": host.url("")})

    status, result = ended(fetch)

    assert (status, result.reason) == (FETCH_PERMANENT, "WeightsNotFound")
    assert "a/b@master" in result.message


@pytest.mark.parametrize(
    ("source", "files"),
    [
        ("s3://models/dev.gguf", {"dev.gguf": WEIGHTS}),
        ("s3://models/sd/", PIPELINE),
    ],
)
def test_a_bucket(store: ObjectStore, tmp_path: Path, source: str, files: dict[str, bytes]) -> None:
    fetch = start_fetch(tmp_path, model(source), environment=store.environment())

    assert ended(fetch)[0] == 0
    assert fetch.files() == in_model(files)
    assert KEY not in fetch.log


def test_a_bucket_for_everybody(store: ObjectStore, tmp_path: Path) -> None:
    fetch = start_fetch(tmp_path, model("s3://public/"), environment={"AWS_ENDPOINT_URL": store.url})

    assert ended(fetch)[0] == 0
    assert fetch.files() == in_model(PIPELINE)


def test_a_bucket_for_others(store: ObjectStore, tmp_path: Path) -> None:
    fetch = start_fetch(tmp_path, model("s3://models/sd/"), environment={"AWS_ENDPOINT_URL": store.url})

    status, result = ended(fetch)

    assert (status, result.reason) == (FETCH_PERMANENT, "WeightsUnauthorized")


def test_an_object_from_the_middle_on(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    store.put("changing", {"dev.gguf": WEIGHTS}, acl="public-read-write")
    listing = list_bucket(BucketSource("changing", "dev.gguf"), field=FIELD, environment=os.environ)
    file = listing.open("dev.gguf", "model/dev.gguf")

    assert b"".join(file.read(2_000_000)) == WEIGHTS[2_000_000:]

    store.put("changing", {"dev.gguf": WEIGHTS[::-1]}, acl="public-read-write")
    with pytest.raises(FetchError, match="can't be read now"):  # no mixture of two
        b"".join(file.read(2_000_000))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("s3://models/missing.gguf", "WeightsNotFound"),
        ("s3://models/missing/", "WeightsNotFound"),
        ("s3://missing/dev.gguf", "WeightsNotFound"),
        ("s3://pickles/sd.ckpt", "UnsafeWeights"),
        ("s3://pickles/only/", "UnsafeWeights"),
    ],
)
def test_what_a_bucket_lacks(store: ObjectStore, tmp_path: Path, source: str, reason: str) -> None:
    status, result = ended(start_fetch(tmp_path, model(source), environment=store.environment()))

    assert (status, result.reason) == (FETCH_PERMANENT, reason)
    assert source in result.message


def test_an_artifact(artifacts: Registry, tmp_path: Path) -> None:
    digest = artifacts.push("models/sd", "v1", PIPELINE)
    fetch = start_fetch(tmp_path, model(f"oci://{artifacts.host}/models/sd:v1"))

    status, result = ended(fetch)

    assert (status, result.revisions) == (0, {FIELD: digest})
    assert fetch.files() == in_model(PIPELINE)


def test_an_artifact_by_its_digest(artifacts: Registry, tmp_path: Path) -> None:
    digest = artifacts.push("models/dev", "latest", {"dev.gguf": b"GGUF old"})
    artifacts.push("models/dev", "latest", {"dev.gguf": b"GGUF new"})
    fetch = start_fetch(tmp_path, model(f"ocifile://{artifacts.host}/models/dev@{digest}"))

    assert ended(fetch)[0] == 0
    assert fetch.files() == {"model/dev": b"GGUF old"}


def test_a_layer_from_the_middle_on(artifacts: Registry) -> None:
    artifacts.push("models/large", "v1", {"dev.gguf": WEIGHTS})
    with httpx.Client() as client:
        source = RegistrySource(artifacts.host, "models/large", "v1")
        file = list_artifact(source, field=FIELD, client=client).open("dev.gguf", "model/dev.gguf")

        assert b"".join(file.read(2_000_000)) == WEIGHTS[2_000_000:]


@pytest.mark.parametrize(
    ("files", "pushed", "reason"),
    [
        ({"../dev.gguf": b"GGUF"}, {}, "InvalidSource"),
        ({"/dev.gguf": b"GGUF"}, {}, "InvalidSource"),
        ({"layer.tar": b"tar"}, {"titles": False}, "InvalidSource"),
        ({"dream.ckpt": b"pickle"}, {}, "UnsafeWeights"),
    ],
)
def test_artifacts_that_are_refused(
    artifacts: Registry, tmp_path: Path, files: dict[str, bytes], pushed: dict[str, Any], reason: str
) -> None:
    artifacts.push("models/bad", "v1", files, **pushed)

    status, result = ended(start_fetch(tmp_path, model(f"oci://{artifacts.host}/models/bad:v1")))

    assert (status, result.reason) == (FETCH_PERMANENT, reason)
    assert list(tmp_path.glob("**/dev.gguf")) == []


@pytest.mark.parametrize(
    "layer",
    [
        {"digest": "sha256:../models/other/model/secret.gguf", "size": 6},
        {"digest": "sha256:/etc/passwd", "size": 6},
        {"digest": 3, "size": 6},
        {"size": 6},
        {"digest": f"sha256:{'0' * 64}", "size": "6"},
        {"digest": f"sha256:{'0' * 64}", "size": -1},
    ],
)
def test_a_registry_that_means_harm(host: FileHost, tmp_path: Path, layer: dict[str, Any]) -> None:
    secret = tmp_path / "volume" / "models" / "other" / "model" / "secret.gguf"
    secret.parent.mkdir(parents=True)
    secret.write_bytes(b"secret")
    layers = [{"annotations": {"org.opencontainers.image.title": "dev.gguf"}, **layer}]
    host.files["/v2/bad/manifests/v1"] = json.dumps({"layers": layers}).encode()

    fetch = start_fetch(tmp_path, model(host.url("/bad:v1").replace("http://", "oci://")))

    status, result = ended(fetch)
    assert (status, result.reason) == (FETCH_PERMANENT, "InvalidSource")
    assert fetch.files() == {}


def test_an_index_without_end_is_none() -> None:
    given = (b"[" * (1 << 20) for _ in range(100))

    assert read_index(given) is None
    assert len(list(given)) > 90, "the rest is left unread"
    assert read_index([b"[" * 100_000]) is None
    assert read_index([b'{"a"', b": 1}"]) == {"a": 1}


def test_a_bucket_of_too_many_objects(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("heliograph_runtime.weights.bucket._MOST_OBJECTS", len(PIPELINE))
    assert len(list_bucket(BucketSource("models", "sd/"), field=FIELD, environment=os.environ).entries) == 3
    with pytest.raises(FetchError, match="more than 3 objects; name the prefix"):
        list_bucket(BucketSource("models", ""), field=FIELD, environment=os.environ)


def test_a_registry_that_wants_to_know_who_asks(tmp_path: Path) -> None:
    """And hands a token to everybody, as the large ones do."""
    with file_host() as tokens, registry(tmp_path, tokens=tokens, repository="models/sd") as guarded:
        guarded.push("models/sd", "v1", PIPELINE)

        fetch = start_fetch(tmp_path, model(f"oci://{guarded.host}/models/sd:v1"))

        assert ended(fetch)[0] == 0
        assert fetch.files() == in_model(PIPELINE)
        assert guarded.token not in fetch.log
        other = start_fetch(tmp_path, model(f"oci://{guarded.host}/models/private:v1"), name="other")
        assert ended(other)[1].reason == "WeightsUnauthorized"


def test_no_such_artifact(artifacts: Registry, tmp_path: Path) -> None:
    status, result = ended(start_fetch(tmp_path, model(f"oci://{artifacts.host}/models/none:v1")))

    assert (status, result.reason) == (FETCH_PERMANENT, "WeightsNotFound")


def test_a_file_of_this_machine(tmp_path: Path) -> None:
    """Which whoever runs `heliograph serve` may name, and nobody else."""
    for path, content in PIPELINE.items():
        (tmp_path / "sd" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sd" / path).write_bytes(content)

    fetch = start_fetch(tmp_path, model(f"file://{tmp_path}/sd"), environment={"HELIOGRAPH_FETCH_LOCAL_FILES": "true"})

    assert ended(fetch)[0] == 0
    assert fetch.files() == {f"model/sd/{path}": content for path, content in PIPELINE.items()}
