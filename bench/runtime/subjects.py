"""What is drawn by both sides: a model, its settings and the request."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[2]
PROMPT = "a red circle on a white background"

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Subject:
    """A model and how it is asked to draw.

    Attributes:
        name: Its name, in requests too.
        folder: Folder with its files, in diffusers' layout.
        pipeline: Class of its pipeline.
        dtype: Number type on a GPU, a name of PyTorch's; a CPU computes in float32.
        size: Width and height of a picture.
        steps: Inference steps.
        guidance: Guidance scale.
        device: Device that it runs on.
    """

    name: str
    folder: Path
    pipeline: str
    dtype: str
    size: int
    steps: int
    guidance: float
    device: Device = "cpu"

    @property
    def loaded_dtype(self) -> str:
        """Return the number type that it is loaded in."""
        return self.dtype if self.device == "cuda" else "float32"

    def manifest(self) -> dict[str, Any]:
        """Return its ImageModel, for a models folder that its own folder is in."""
        on_gpu = self.device == "cuda"
        spec = {
            "parameters": {"model": self.folder.name},
            "diffusers": {"pipeline_type": self.pipeline},
            **({"cuda": True, "options": [f"torch_dtype:{self.dtype}"]} if on_gpu else {}),
        }
        return {
            "apiVersion": "heliograph.dev/v1alpha1",
            "kind": "ImageModel",
            "metadata": {"name": self.name},
            "spec": spec,
        }

    def request(self, *, seed: int, steps: int | None = None, form: str = "b64_json") -> dict[str, Any]:
        """Return the body of a request for one picture, in a form of `response_format`."""
        return {
            "model": self.name,
            "prompt": PROMPT,
            "size": f"{self.size}x{self.size}",
            "seed": seed,
            "steps": steps or self.steps,
            "cfg_scale": self.guidance,
            "response_format": form,
        }


TINY = Subject(
    name="tiny",
    folder=ROOT / "examples" / "tiny-model" / "model",
    pipeline="StableDiffusionPipeline",
    dtype="float32",
    size=128,
    steps=20,
    guidance=4.0,
)


def real_size(cache: Path) -> dict[str, Subject]:
    """Return the models of real size by name, whose files `weights.write` makes below `cache`."""
    subjects = (
        Subject("sd15", cache / "sd15", "StableDiffusionPipeline", "float16", size=512, steps=25, guidance=7.5),
        Subject("sdxl", cache / "sdxl", "StableDiffusionXLPipeline", "float16", size=1024, steps=20, guidance=7.0),
        Subject("flux", cache / "flux", "FluxPipeline", "bfloat16", size=1024, steps=28, guidance=3.5),
    )
    return {subject.name: subject for subject in subjects}
