"""Sources whose certificates are of an authority of one's own, which SSL_CERT_FILE names."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from cluster.certificates import Authority
from runtime.fetching import Fetch, start_fetch
from runtime.file_host import file_host
from runtime.hub_host import add_repository
from runtime.object_store import object_store

WEIGHTS = b"GGUF and more"


def fetch(folder: Path, source: str, authority: Authority, environment: Mapping[str, str]) -> Fetch:
    """Start to fetch, trusting one authority alone."""
    spec = {"backend": "stablediffusion-ggml", "parameters": {"model": source}}
    trusting = {**environment, "SSL_CERT_FILE": str(authority.certificate)}
    return start_fetch(folder, spec, environment=trusting)


@pytest.fixture
def own(tmp_path: Path) -> Authority:
    (tmp_path / "own").mkdir()
    return Authority(tmp_path / "own")


@pytest.mark.parametrize("source", ["{host}/dev.gguf", "hf://mine/dream/dev.gguf"])
def test_hosts_and_hubs_of_ones_own(own: Authority, tmp_path: Path, source: str) -> None:
    with file_host(certificate=own.issue_server("host", hosts=["127.0.0.1"])) as host:
        add_repository(host, "mine/dream", {"dev.gguf": WEIGHTS})
        host.files["/dev.gguf"] = WEIGHTS
        fetching = fetch(tmp_path, source.format(host=host.url("")), own, {"HF_ENDPOINT": host.url("")})
        with fetching.leash:
            assert fetching.wait()[1].reason == "Fetched", fetching.log
    assert list(fetching.files().values()) == [WEIGHTS]


def test_a_bucket_of_ones_own(own: Authority, tmp_path: Path) -> None:
    with object_store(tmp_path, authority=own) as store:
        store.put("models", {"dev.gguf": WEIGHTS})
        fetching = fetch(tmp_path, "s3://models/dev.gguf", own, store.environment())
        with fetching.leash:
            assert fetching.wait()[1].reason == "Fetched", fetching.log
    assert list(fetching.files().values()) == [WEIGHTS]


def test_no_other_authority_is_trusted(own: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    with file_host(certificate=own.issue_server("host", hosts=["127.0.0.1"])) as host:
        host.files["/dev.gguf"] = WEIGHTS
        fetching = fetch(tmp_path, host.url("/dev.gguf"), other, {})
        with fetching.leash:
            assert fetching.wait()[0] == os.EX_TEMPFAIL
    assert not host.seen
