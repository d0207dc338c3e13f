"""Weights in claims: copied in by hand, and volumes that are too small."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devcluster.installation import claim_and_pod
from node.kubectl import Kubectl
from node.models import EXAMPLES

_FOLDERS = ("tiny-model", "tiny-flux")


def fill_claim(kubectl: Kubectl, *, busybox: str) -> None:
    """Make the claim that examples/ name, and copy their weights into it as docs/first-model.md does.

    Args:
        kubectl: kubectl in the namespace.
        busybox: Image with a shell and tar, which `kubectl cp` needs.
    """
    kubectl.apply(*claim_and_pod(busybox, namespace=kubectl.namespace)["items"])
    kubectl("wait", "--for=condition=Ready", "pod/fill", "--timeout=120s", timeout=150)
    for folder in _FOLDERS:
        kubectl("cp", EXAMPLES / folder, "fill:/models/")
    kubectl("delete", "pod/fill")


@contextmanager
def small_volume(kubectl: Kubectl, folder: Path, *, name: str, size: str) -> Iterator[None]:
    """Have a volume of a class of its own, in memory and of so few bytes, that one claim can be bound to."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=1777", "tmpfs", folder], check=True)
    try:
        node = kubectl.items("nodes")[0]["metadata"]["name"]
        there = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
        volume = {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": name,
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [there]}]}},
        }
        kubectl.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": volume})
        yield
        kubectl.delete(f"persistentvolume/{name}", wait=False)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
