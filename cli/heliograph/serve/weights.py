"""Fetching the weights of a model before its runtime starts: into the folder `.heliograph` of its models folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from heliograph.serve.listener import free_port
from heliograph.serve.process import ChildProcess
from heliograph.serve.refusals import refusal, refused_path
from heliograph_api import naming
from heliograph_api.errors import SpecError
from heliograph_api.exits import FetchResult
from heliograph_api.weights import WeightsPlan, folder_name, plan_weights
from heliograph_runtime.weights.models_dir import VOLUME, link_files, present_in
from heliograph_runtime.weights.progress import State
from heliograph_runtime.weights.volume import Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from heliograph.serve.manifests import ServedModel
    from heliograph_api.manifest import ImageModel

_POLL_SECONDS = 0.5
_GRACE_SECONDS = 5.0


class WeightsError(Exception):
    """Weights that can't be had; the message names the field, the problem and the remedy."""


@dataclass(frozen=True)
class ServedWeights:
    """How a model comes by its weights.

    Attributes:
        plan: What is fetched, with the places below the models folder.
        name: Name of the model's folder in the volume.
        models_dir: The models folder.
    """

    plan: WeightsPlan
    name: str
    models_dir: Path

    @property
    def spec(self) -> Mapping[str, Any]:
        """Return the spec as the runtime reads it."""
        return self.plan.local_spec

    @property
    def lacking(self) -> bool:
        """Return whether something must be fetched.

        Raises:
            WeightsError: What is there can't be read.
        """
        try:
            return bool(self.plan.parts) and Receipt.read(self.models_dir / VOLUME / "models" / self.name) is None
        except OSError as error:
            raise WeightsError(refused_path(error)) from None

    def link(self) -> None:
        """Link the files of `download_files` to where they are looked for.

        Raises:
            WeightsError: The models folder can't be written.
        """
        places = [part.target for part in self.plan.parts if part.field.startswith("spec.download_files")]
        try:
            link_files(self.models_dir, self.name, places)
        except OSError as error:
            raise WeightsError(
                f"spec.download_files: can't be linked into {self.models_dir}: {refusal(error)}"
            ) from None


def plan_served(served: ServedModel) -> ServedWeights:
    """Return how a model that is no alias comes by its weights: what names a file in the models folder is that.

    Raises:
        WeightsError: A source is written wrongly, or is a cluster's, or the models folder can't be read.
    """
    present = present_in(served.models_dir)
    try:
        name = folder_name(served.model, plan_weights(served.model, present=present))
        plan = plan_weights(served.model, present=present, root=f"{VOLUME}/models/{name}")
    except SpecError as error:
        raise WeightsError(str(error)) from None
    except OSError as error:
        # No file has a name that is too long, and parameters.model is the one that people write there.
        raise WeightsError(f"spec.parameters.model: {refused_path(error)}") from None
    if plan.claim is not None:
        raise WeightsError(
            "spec.parameters.model: pvc:// names a claim of a cluster; write the path below the models folder here"
        )
    return ServedWeights(plan, name, served.models_dir)


def must_fetch(served: ServedModel) -> bool:
    """Return whether a model needs something that must be fetched; one that is refused does not."""
    try:
        return plan_served(served).lacking
    except WeightsError:
        return False


async def fetch_weights(
    weights: ServedWeights,
    model: ImageModel,
    *,
    manifest: Path,
    on_progress: Callable[[State], None],
    on_line: Callable[[str], None],
    on_start: Callable[[ChildProcess], None],
) -> None:
    """Fetch what a model lacks.

    Args:
        weights: How it comes by its weights.
        model: The model.
        manifest: Where its manifest is written for the process that fetches.
        on_progress: Told how far it is.
        on_line: Called with each line that the process writes.
        on_start: Called with the process.

    Raises:
        WeightsError: They can't be had.
    """
    results: list[FetchResult] = []

    def read_line(line: str) -> None:
        if result := FetchResult.read(line):
            results.append(result)
        else:
            on_line(line)

    port = free_port()
    arguments = _arguments(weights, model, manifest=manifest, port=port)
    process = await ChildProcess.start(["fetch", *arguments], on_line=read_line)
    on_start(process)
    try:
        async with httpx.AsyncClient(timeout=_POLL_SECONDS, trust_env=False) as client:
            while not await process.wait(timeout=_POLL_SECONDS):
                await _tell(client, f"http://127.0.0.1:{port}/progress", on_progress)
    finally:
        await process.stop(grace=_GRACE_SECONDS)
    if not results:
        raise WeightsError(f"the fetch {process.ending}")
    if results[-1].reason != "Fetched":
        raise WeightsError(results[-1].message or "the fetch was interrupted")


def _arguments(weights: ServedWeights, model: ImageModel, *, manifest: Path, port: int) -> list[str]:
    """Write the manifest, and return the arguments of `heliograph fetch`."""
    head = {"apiVersion": naming.API_VERSION, "kind": naming.KIND, "metadata": {"name": model.name}}
    manifest.write_text(json.dumps({**head, "spec": dict(model.raw_spec)}), encoding="utf-8")
    options = {
        "manifest": manifest,
        "volume": weights.models_dir / VOLUME,
        "name": weights.name,
        "models-dir": weights.models_dir,
        "port": port,
    }
    flags = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    return [*flags, "--local-files", "--watch-stdin"]


async def _tell(client: httpx.AsyncClient, address: str, on_progress: Callable[[State], None]) -> None:
    try:
        state = State(**(await client.get(address)).json())
    except (httpx.HTTPError, ValueError):
        return
    on_progress(state)
