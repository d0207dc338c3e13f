"""The part of nodes: pods are said to be ready as soon as they are there."""

import json
from threading import Event, Thread
from types import TracebackType
from typing import Self

import httpx

_PAUSE_SECONDS = 1.0
_READY = [{"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady", "Initialized")]


class Nodes:
    """Says of every pod in a namespace that it is ready, while the block runs."""

    def __init__(self, admin: httpx.Client, namespace: str) -> None:
        """Speak through `admin`, who may write the status of pods."""
        self._admin = admin
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._stop = Event()
        self._thread = Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(_PAUSE_SECONDS):
            pending = self._admin.get(self._path, params={"fieldSelector": "status.phase=Pending"})
            for pod in pending.raise_for_status().json()["items"]:
                if not self._stop.is_set():
                    self._make_ready(pod["metadata"]["name"])

    def _make_ready(self, name: str) -> None:
        # A pod that has gone meanwhile needs nothing.
        self._admin.patch(
            f"{self._path}/{name}/status",
            headers={"Content-Type": "application/strategic-merge-patch+json"},
            content=json.dumps({"status": {"phase": "Running", "conditions": _READY}}),
        )
