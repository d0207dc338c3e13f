"""Single files in the layout of a family's original code draw what the folders that they were made of draw."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from runtime import miniatures
from runtime.alignment import realign
from runtime.miniature_parts import load_pipeline
from runtime.single_files import save_single_file

# diffusers 0.42 and numpy 2.4
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Save = Callable[[Path], None]


def draw(pipeline: Any) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    realign(pipeline)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()  # diffusers 0.42 forgets it for the T5 of a single file
    exact = {"use_resolution_binning": False} if "Sana" in type(pipeline).__name__ else {}
    generator = torch.Generator().manual_seed(1)
    call = {"width": 64, "height": 64, "num_inference_steps": 2, "generator": generator, "output_type": "np", **exact}
    return np.asarray(pipeline("a cat", **call).images)


def save(save_miniature: Save, tmp_path: Path, *, without: str) -> tuple[Path, Path, Any]:
    """Return a miniature's folder, left with none of the weights named, its single file, and what the folder drew."""
    folder, file = tmp_path / "model", tmp_path / "model.safetensors"
    save_miniature(folder)
    save_single_file(folder, file)
    drawn = draw(load_pipeline("DiffusionPipeline", folder))
    for weights in folder.glob(without):
        weights.unlink()
    return folder, file, drawn


@pytest.mark.parametrize(
    ("pipeline", "save_miniature"),
    [
        ("StableDiffusionPipeline", miniatures.save_sd),
        ("StableDiffusionPipeline", miniatures.save_sd2),
        ("StableDiffusionXLPipeline", miniatures.save_sdxl),
        ("StableDiffusion3Pipeline", miniatures.save_sd3),
    ],
)
def test_a_whole_model(pipeline: str, save_miniature: Save, tmp_path: Path) -> None:
    folder, file, drawn = save(save_miniature, tmp_path, without="*/*.safetensors")

    whole = getattr(diffusers, pipeline).from_single_file(
        str(file), config=str(folder), local_files_only=True, torch_dtype=torch.float32
    )

    assert np.array_equal(draw(whole), drawn)


@pytest.mark.parametrize(
    ("model", "save_miniature"),
    [("FluxTransformer2DModel", miniatures.save_flux), ("SanaTransformer2DModel", miniatures.save_sana)],
)
def test_a_transformer_alone(model: str, save_miniature: Save, tmp_path: Path) -> None:
    folder, file, drawn = save(save_miniature, tmp_path, without="transformer/*.safetensors")

    transformer = getattr(diffusers, model).from_single_file(
        str(file), config=str(folder), subfolder="transformer", local_files_only=True, torch_dtype=torch.float32
    )
    pipeline = load_pipeline("DiffusionPipeline", folder, transformer=transformer)

    assert np.array_equal(draw(pipeline), drawn)
