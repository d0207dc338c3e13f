"""What is drawn by both sides: a model, its settings and the request."""

import os
from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

ROOT = Path(__file__).resolve().parents[2]
PROMPT = "a red circle on a white background"

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Subject(ABC):
    """A model and how it is asked to draw.

    Attributes:
        name: Its name, in requests too.
        folder: Folder with its files.
        size: Width and height of a picture.
        steps: Inference steps.
        guidance: Guidance scale.
        script: File of the bare script that draws it.
    """

    script: ClassVar[str]

    name: str
    folder: Path
    _: KW_ONLY
    size: int
    steps: int
    guidance: float

    @property
    @abstractmethod
    def drawn_by(self) -> str:
        """Return what draws it, and how, for people."""

    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """Return the spec of its ImageModel, for a models folder that its own folder is in."""

    def settings(self) -> dict[str, Any]:
        """Return what the bare script is started with."""
        return {"folder": str(self.folder), "prompt": PROMPT, "size": self.size, "guidance": self.guidance}

    def manifest(self) -> dict[str, Any]:
        """Return its ImageModel."""
        return {
            "apiVersion": "heliograph.dev/v1alpha1",
            "kind": "ImageModel",
            "metadata": {"name": self.name},
            "spec": self.spec(),
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


@dataclass(frozen=True)
class DiffusersSubject(Subject):
    """A model in diffusers' layout.

    Attributes:
        pipeline: Class of its pipeline.
        dtype: Number type on a GPU, a name of PyTorch's; a CPU computes in float32.
        device: Device that it runs on.
    """

    script = "bare.py"

    pipeline: str
    dtype: str
    _: KW_ONLY
    device: Device = "cpu"

    @property
    def loaded_dtype(self) -> str:
        """Return the number type that it is loaded in."""
        return self.dtype if self.device == "cuda" else "float32"

    @property
    def drawn_by(self) -> str:
        """Return its pipeline, the device and the number type."""
        return f"{self.pipeline} on {self.device} as {self.loaded_dtype}"

    def settings(self) -> dict[str, Any]:
        """Return what the bare script is started with."""
        return super().settings() | {"pipeline": self.pipeline, "dtype": self.loaded_dtype, "device": self.device}

    def spec(self) -> dict[str, Any]:
        """Return the spec of its ImageModel, for a models folder that its own folder is in."""
        on_gpu = self.device == "cuda"
        return {
            "parameters": {"model": self.folder.name},
            "diffusers": {"pipeline_type": self.pipeline},
            **({"cuda": True, "options": [f"torch_dtype:{self.dtype}"]} if on_gpu else {}),
        }


@dataclass(frozen=True)
class SdcppSubject(Subject):
    """A model for stable-diffusion.cpp, on the device that the library was built for.

    Attributes:
        model: File of its diffusion model.
        parts: Files of its other parts, by the library's names for them.
        threads: Threads that it draws with on a CPU.
    """

    script = "bare_sdcpp.py"

    model: str
    parts: tuple[tuple[str, str], ...]
    _: KW_ONLY
    threads: int

    @property
    def drawn_by(self) -> str:
        """Return the engine and its threads."""
        return f"stable-diffusion.cpp with {self.threads} threads"

    def settings(self) -> dict[str, Any]:
        """Return what the bare script is started with."""
        files = {"diffusion_model_path": self.model, **dict(self.parts)}
        paths = {name: str(self.folder / file) for name, file in files.items()}
        return super().settings() | {"paths": paths, "threads": self.threads}

    def spec(self) -> dict[str, Any]:
        """Return the spec of its ImageModel, for a models folder that its own folder is in."""
        return {
            "backend": "stablediffusion-ggml",
            "parameters": {"model": f"{self.folder.name}/{self.model}"},
            "options": [f"{name}:{self.folder.name}/{file}" for name, file in self.parts],
            "threads": self.threads,
        }

    def request(self, *, seed: int, steps: int | None = None, form: str = "b64_json") -> dict[str, Any]:
        """Return the body of a request; to this engine `cfg_scale` is never a distilled model's guidance."""
        distilled = {"cfg_scale": 1, "guidance": self.guidance}
        return super().request(seed=seed, steps=steps, form=form) | distilled


TINY = DiffusersSubject(
    name="tiny",
    folder=ROOT / "examples" / "tiny-model" / "model",
    pipeline="StableDiffusionPipeline",
    dtype="float32",
    size=128,
    steps=20,
    guidance=4.0,
)


def real_size(cache: Path) -> dict[str, DiffusersSubject]:
    """Return the models of real size by name, whose files `weights.write` makes below `cache`."""
    subjects = (
        DiffusersSubject(
            "sd15", cache / "sd15", "StableDiffusionPipeline", "float16", size=512, steps=25, guidance=7.5
        ),
        DiffusersSubject(
            "sdxl", cache / "sdxl", "StableDiffusionXLPipeline", "float16", size=1024, steps=20, guidance=7.0
        ),
        DiffusersSubject("flux", cache / "flux", "FluxPipeline", "bfloat16", size=1024, steps=28, guidance=3.5),
    )
    return {subject.name: subject for subject in subjects}


def tiny_gguf(cache: Path) -> SdcppSubject:
    """Return the miniature of FLUX.1 for stable-diffusion.cpp, whose files are made below `cache`."""
    return SdcppSubject(
        "tiny-gguf",
        cache / "tiny-gguf",
        "flux.gguf",
        (("clip_l_path", "clip_l.safetensors"), ("taesd_path", "taef1.safetensors")),
        size=128,
        steps=8,
        guidance=3.5,
        threads=len(os.sched_getaffinity(0)),
    )
