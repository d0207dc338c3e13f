"""A kubelet's part for the pod of a fetch Job: the real fetcher runs by the Job's template, and its end is told."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cluster.leash import Leash
from cluster.nodes import bind
from cluster.pods import run_container
from cluster.waiting import eventually
from heliograph_api import naming

NODE = "fetchers"
"""Name of the node that such pods are on."""
ADDRESS = "127.77.0.5"
"""Of the pod; the port of a fetcher is always the same one, and this address is nobody else's."""


@dataclass
class Fetch:
    """One pod of a fetch Job, and the process that does its work.

    Attributes:
        admin: Client that may do everything.
        path: The pod's path in the API.
        process: The fetcher.
        result: Its termination message.
    """

    admin: httpx.Client
    path: str
    process: Leash
    result: Path

    def write(self, **status: Any) -> None:
        """Write the pod's status."""
        media_type = {"Content-Type": "application/merge-patch+json"}
        self.admin.patch(f"{self.path}/status", headers=media_type, json={"status": status}).raise_for_status()

    def end(self) -> None:
        """Wait until the fetcher ends, and tell what a kubelet then tells of the pod."""
        code = self.process.wait(timeout=60)
        terminated = {"exitCode": code, "reason": "Error" if code else "Completed", "message": self.result.read_text()}
        status = {"name": "fetch", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
        self.write(
            phase="Failed" if code else "Succeeded", containerStatuses=[{**status, "state": {"terminated": terminated}}]
        )


@contextmanager
def fetching_pod(
    admin: httpx.Client,
    job: Mapping[str, Any],
    *,
    node: str,
    volume: Path,
    folder: Path,
    env: Mapping[str, str] | None = None,
) -> Iterator[Fetch]:
    """Run the pod of a Job inside the block.

    Args:
        admin: Client that may do everything.
        job: The Job.
        node: Node that the pod is on; nothing makes volumes here, for which the scheduler would wait.
        volume: Folder that stands for the volume of its claim.
        folder: Folder that is made for what else it needs.
        env: Further environment variables.
    """
    metadata = job["metadata"]
    pods = f"/api/v1/namespaces/{metadata['namespace']}/pods"
    selector = {"labelSelector": f"batch.kubernetes.io/job-name={metadata['name']}"}
    pod = eventually(
        lambda: next(iter(admin.get(pods, params=selector).raise_for_status().json()["items"]), None),
        what=f"pod of {metadata['name']}",
    )
    path = bind(admin, pod, node=node)
    folder.mkdir()
    result = folder / "termination-log"
    result.touch()
    claims = [it["persistentVolumeClaim"] for it in pod["spec"]["volumes"] if "persistentVolumeClaim" in it]
    with run_container(
        {"metadata": pod["metadata"], "spec": pod["spec"]},
        folder=folder,
        port=naming.FETCHER_PORT,
        claims={claim["claimName"]: volume for claim in claims},
        env={"HELIOGRAPH_FETCH_TERMINATION_LOG": str(result), **(env or {})},
        address=ADDRESS,
    ) as process:
        fetch = Fetch(admin, path, process, result)
        scheduled = {"type": "PodScheduled", "status": "True"}
        fetch.write(phase="Running", conditions=[scheduled], podIP=ADDRESS, podIPs=[{"ip": ADDRESS}])
        yield fetch
