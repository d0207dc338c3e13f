"""Rounds of a measurement: one model applied, put to sleep, woken by a request, and deleted."""

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from bench.cluster.gateway import Kubectl, draw
from bench.cluster.stages import Observer, Stage, is_placed, is_ready, is_running, model_is_ready, replicas

NAME = "bench-cluster"
PROMPT = "a red circle on a white background"
_FEW = {"requests": {"cpu": "50m", "memory": "512Mi"}}
_PLACED: Stage = ("scheduling", lambda sight: sight.any_pod(is_placed))
_STARTED: Stage = ("container start", lambda sight: sight.any_pod(is_running))
_LOADED: Stage = ("load", lambda sight: sight.any_pod(is_ready))
_APPLIED: tuple[Stage, ...] = (_PLACED, _STARTED, _LOADED, ("told as Ready", lambda sight: model_is_ready(sight.model)))
_WOKEN: tuple[Stage, ...] = (("wake-up", lambda sight: replicas(sight.model) > 0), _PLACED, _STARTED, _LOADED)

Times = Mapping[str, float]
"""Seconds of each part, in order; their sum is the whole."""


@dataclass(frozen=True)
class Round:
    """What one round took.

    Attributes:
        applied: From `kubectl apply` to Ready.
        woken: From a request for the sleeping model to its picture.
        warm: Seconds of one more picture.
    """

    applied: Times
    woken: Times
    warm: float


@dataclass(frozen=True)
class Bench:
    """One model on one cluster."""

    kubectl: Kubectl
    gateway: httpx.Client
    observer: Observer
    manifest: Mapping[str, Any]

    def round(self) -> Round:
        """Apply the model, put it to sleep, wake it, and delete it."""
        try:
            applied = self._apply()
            self.kubectl("scale", f"imagemodel/{NAME}", "--replicas=0")
            self.observer.wait_until_gone()
            woken = self._wake()
            asked = time.monotonic()
            return Round(applied, woken, draw(self.gateway, NAME, PROMPT) - asked)
        finally:
            self.kubectl("delete", f"imagemodel/{NAME}", "--ignore-not-found")
            self.observer.wait_until_gone()

    def _apply(self) -> Times:
        begun = time.monotonic()
        self.kubectl("apply", "--filename", "-", stdin=json.dumps(self.manifest))
        return {"kubectl": time.monotonic() - begun, **self.observer.times(_APPLIED)}

    def _wake(self) -> Times:
        with ThreadPoolExecutor(1) as pool:
            picture = pool.submit(draw, self.gateway, NAME, PROMPT)
            times = self.observer.times(_WOKEN)
            loaded = time.monotonic()
            # The answer may come before the API server shows that the pod is ready.
            return {**times, "first picture": max(0.0, picture.result() - loaded)}


def manifest_of(path: Path) -> dict[str, Any]:
    """Return a manifest under the bench's own name, which may sleep and asks for little CPU."""
    manifest: dict[str, Any] = yaml.safe_load(path.read_text())
    manifest["metadata"] = {"name": NAME}
    serving = manifest["spec"].setdefault("serving", {})
    serving |= {"scaling": {"min": 0, "max": 1, "idleSeconds": 3600}}
    serving.setdefault("resources", _FEW)
    return manifest
