"""An object store with S3's API: Moto's server."""

import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from clients.installed import python_clients
from cluster.addresses import free_port
from cluster.certificates import Authority
from cluster.leash import Leash
from cluster.waiting import is_answered

KEY = "AKIACANARY"


@dataclass(frozen=True)
class ObjectStore:
    """A running object store, at `url`."""

    url: str
    trusted: ssl.SSLContext | bool = True

    def environment(self, **more: str) -> Mapping[str, str]:
        """Return the environment variables by which clients find it."""
        given = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": "canary", "AWS_REGION": "us-east-1"}
        return {"AWS_ENDPOINT_URL": self.url, **given, **more}

    def put(self, bucket: str, objects: Mapping[str, bytes], *, acl: str = "private") -> None:
        """Make a bucket, and put objects into it."""
        given = {"x-amz-acl": acl}
        with httpx.Client(base_url=self.url, headers=given, verify=self.trusted, trust_env=False, timeout=30) as client:
            client.put(f"/{bucket}").raise_for_status()
            for key, content in objects.items():
                client.put(f"/{bucket}/{key}", content=content).raise_for_status()


@contextmanager
def object_store(folder: Path, *, authority: Authority | None = None) -> Iterator[ObjectStore]:
    """Run an object store inside the `with` block; by HTTPS with a certificate of an authority, if one is given."""
    port = free_port()
    command = [sys.executable, "-P", "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    if authority:
        certificate, key = authority.issue_server("store", hosts=["127.0.0.1"])
        command += ["--ssl-cert", str(certificate), "--ssl-key", str(key)]
    with Leash(command, log=folder / "store.log", env={"PYTHONPATH": str(python_clients())}) as leash:
        url = f"{'https' if authority else 'http'}://127.0.0.1:{port}"
        trusted = ssl.create_default_context(cafile=authority.certificate) if authority else True
        leash.wait_until(lambda: is_answered(f"{url}/moto-api/data.json", trusted=trusted))
        yield ObjectStore(url, trusted)
