"""Kubeconfig files."""

from collections.abc import Mapping
from pathlib import Path

import yaml


def write_kubeconfig(
    path: Path,
    *,
    url: str,
    ca: Path,
    credentials: Mapping[str, str],
    namespace: str = "default",
    name: str = "test",
) -> Path:
    """Write a kubeconfig that only its owner may read, and return its path.

    Args:
        path: The file to write.
        url: The API server's.
        ca: PEM file of the authority for the API server's certificate.
        credentials: The user's fields: `client-certificate` and `client-key`, or `token`.
        namespace: The namespace where a request names none.
        name: What the cluster, the user and the context are called.
    """
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": url, "certificate-authority": str(ca)}}],
        "users": [{"name": name, "user": dict(credentials)}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
        "current-context": name,
    }
    # A process that already runs may read it at any moment.
    new = path.with_suffix(f"{path.suffix}.new")
    new.touch(mode=0o600)
    new.write_text(yaml.safe_dump(content, sort_keys=False))
    return new.replace(path)
