"""Models whose weights are fetched into volumes, shared or not: what a test asks for, and what their Jobs do then."""

import json
from pathlib import Path
from typing import Any

from cluster.waiting import eventually
from fetcher_pods import NODE, fetching_pod
from heliograph_api import naming
from operator_rig import Served
from runtime.file_host import FileHost

CLAIM = "heliograph-weights"


class Sharers:
    """Models that share the claim of a namespace, and the volume that stands for its own."""

    def __init__(self, served: Served, host: FileHost, folder: Path) -> None:
        self.served = served
        self.folder = folder
        self.volume = folder / "volume"
        self.volume.mkdir()
        self._host = host
        self._runs = 0

    def apply(self, name: str, file: str, *, mode: str = "sharedRWX", replicas: int = 1) -> None:
        spec = {
            "backend": "stablediffusion-ggml",
            "parameters": {"model": self._host.url(f"/{file}.gguf")},
            "serving": {"cache": {"mode": mode}, "replicas": replicas},
        }
        self.served.apply(name, spec)

    def delete(self, name: str) -> None:
        self.served.kubectl("delete", "imagemodel", name)

    def job(self, *, collects: str | None = None) -> dict[str, Any]:
        """Wait for the Job that removes a folder, or for one that fetches, and return it."""
        wanted = f"{collects}-gc" if collects else None

        def find() -> dict[str, Any] | None:
            names = {job["metadata"]["name"]: job for job in self.served.items("Job")}
            if wanted:
                return names.get(wanted)
            return next((job for name, job in names.items() if not name.endswith("-gc")), None)

        return eventually(find, what=wanted or "fetch Job", timeout=90)

    def run(self, job: dict[str, Any], volume: Path | None = None, **settings: str) -> None:
        """Run what a Job is for to its end, with settings of the fetcher beside those that it has."""
        self._runs += 1
        scratch = self.folder / f"run-{self._runs}"
        admin = self.served.cluster.admin
        env = {f"HELIOGRAPH_FETCH_{name}": value for name, value in settings.items()}
        with fetching_pod(admin, job, node=NODE, volume=volume or self.volume, folder=scratch, env=env) as run:
            run.end()

    def fetched(self, name: str, file: str, **options: Any) -> str:
        """Apply a model and fetch its weights; return what their folder is called."""
        self.apply(name, file, **options)
        job = self.job()
        self.run(job)
        folder = str(job["metadata"]["name"])
        eventually(lambda: self.status(name).get("folder") == folder, what=f"weights of {name}")
        return folder

    def status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = (self.served.get("ImageModel", name) or {}).get("status", {}).get("weights") or {}
        return found

    def claim(self, name: str = CLAIM) -> dict[str, Any]:
        found = self.served.get("PersistentVolumeClaim", name)
        assert found is not None
        return found

    def noted(self, name: str) -> list[str]:
        """Return the folders that the claim names as a model's."""
        annotations = self.claim()["metadata"]["annotations"]
        share = annotations.get(f"weights.heliograph.dev/{naming.child_name(name)}")
        return json.loads(share)["folders"] if share else []

    def folders(self) -> set[str]:
        return {path.name for path in (self.volume / "models").iterdir()}

    def blobs(self) -> int:
        return len(list((self.volume / "blobs").iterdir()))
