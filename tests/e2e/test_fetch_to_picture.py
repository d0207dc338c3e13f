"""From a repository of a hub to a picture: fetched by a Job, served from the volume, and not fetched again."""

from pathlib import Path

import httpx

from cluster.nodes import nodes
from cluster.waiting import eventually
from e2e.installation import ROOT, Installation, draw
from fetcher_pods import fetching_pod
from heliograph_api.naming import child_name
from pictures import classify
from runtime.file_host import file_host
from runtime.hub_host import add_repository

REPOSITORY = "heliograph/tiny-model"
TOKEN = "hub-token-of-the-test"
NODE = "hub-fetchers"
LABEL = f"heliograph.dev/model={child_name('fetched')}"
MANIFEST = f"""
apiVersion: heliograph.dev/v1alpha1
kind: ImageModel
metadata: {{name: fetched}}
spec:
  parameters: {{model: {REPOSITORY}}}
  diffusers: {{pipeline_type: StableDiffusionPipeline}}
  step: 20
  serving:
    hfTokenSecretRef: {{name: hub}}
"""


def test_a_repository_becomes_a_picture(installation: Installation, tmp_path: Path) -> None:
    folder = ROOT / "examples" / "tiny-model" / "model"
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    admin, volume = installation.cluster.admin, tmp_path / "volume"
    volume.mkdir()
    with file_host() as hub, nodes(admin, {NODE: {}}):
        commit = add_repository(hub, REPOSITORY, files)
        hub.token = TOKEN
        installation.kubectl("apply", "--filename", "-", input=MANIFEST)
        job = eventually(lambda: installation.items("jobs", LABEL), what="fetch Job")[0]
        env = {"HF_ENDPOINT": hub.url(""), "HF_TOKEN": TOKEN}
        with fetching_pod(admin, job, node=NODE, volume=volume, folder=tmp_path / "fetch", env=env) as fetch:
            fetch.end()
        deployment = eventually(lambda: installation.items("deployments", LABEL), what="Deployment")[0]
    assert TOKEN not in str(deployment)

    claim = {child_name("fetched"): volume}
    with installation.running_pod(child_name("fetched"), deployment, claims=claim):
        eventually(lambda: _is_routed(installation), what="route to the model")
        drawn = classify(draw(installation.client(), "a red circle on a white background", model="fetched", seed=1))
    assert (drawn.colour, drawn.shape, drawn.background) == ("red", "circle", "white")
    status = installation.get("imagemodel/fetched")["status"]
    assert status["weights"]["revision"] == commit
    assert status["weights"]["bytes"] == sum(map(len, files.values()))
    row = installation.kubectl("get", "imagemodel/fetched").splitlines()[1]
    assert status["weights"]["summary"] in row
    installation.kubectl("delete", "imagemodel/fetched")
    installation.wait_until_gone("services", LABEL)


def _is_routed(installation: Installation) -> bool:
    url = f"{installation.gateway_url}/v1/images/generations"
    body = {"model": "fetched", "prompt": "a circle", "steps": 1}
    return httpx.post(url, json=body, headers=installation.carrying_key, timeout=60).is_success
