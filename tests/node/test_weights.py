"""Weights that are fetched into a volume by a Job: once, whatever becomes of the pods."""

from pathlib import Path

from heliograph_api import naming
from node.claims import small_volume
from node.client import Client
from node.kubectl import Object
from node.models import condition, running_pod, wait_ready, wait_told
from node.release import Release
from pictures import Content, classify
from runtime.file_host import FileHost


def fetched(name: str, **serving: object) -> Object:
    """Return a model whose weights are in the hub's repository."""
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.KIND,
        "metadata": {"name": name},
        "spec": {
            "parameters": {"model": "heliograph/tiny-model"},
            "diffusers": {"pipeline_type": "StableDiffusionPipeline"},
            "step": 20,
            "cfg_scale": 4,
            "serving": {"resources": {"requests": {"cpu": "50m", "memory": "512Mi"}}, **serving},
        },
    }


def test_a_restart_downloads_nothing(configured: Release, hub: FileHost, client: Client) -> None:
    kubectl = configured.kubectl
    kubectl.apply(fetched("fetched"))
    wait_ready(kubectl, "fetched")
    assert condition(kubectl, "fetched", "WeightsCached")["reason"] == "Fetched"
    claim = kubectl.get(f"persistentvolumeclaim/{naming.child_name('fetched')}")
    assert claim["status"]["phase"] == "Bound"
    assert classify(client.draw("fetched")) == Content("red", "circle", "white")

    asked, first = list(hub.seen), running_pod(kubectl, "fetched")
    assert asked
    kubectl.delete(f"pod/{first['metadata']['name']}")
    second = running_pod(kubectl, "fetched")
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert classify(client.draw("fetched")) == Content("red", "circle", "white")
    assert hub.seen == asked
    kubectl.delete("imagemodel/fetched")


def test_a_volume_that_is_too_small_is_told(configured: Release, hub: FileHost, tmp_path: Path) -> None:
    kubectl = configured.kubectl
    with small_volume(kubectl, tmp_path, name="small", size="3m"):
        kubectl.apply(fetched("too-large", cache={"mode": "perModel", "storageClass": "small", "size": "100Mi"}))
        told = wait_told(kubectl, "too-large", "WeightsCached", reason="DiskFull")
        assert told["status"] == "False"
        assert "MB more, and the volume has 3 MB left; make it larger" in told["message"]
        assert condition(kubectl, "too-large", "Ready")["reason"] == "DiskFull"
        kubectl.delete("imagemodel/too-large")
        kubectl.delete(f"persistentvolumeclaim/{naming.child_name('too-large')}")
