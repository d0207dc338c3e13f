"""The ControlNet of a spec."""

import json
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any, get_args

import diffusers
import torch

from heliograph_runtime.engines.diffusers.modes import relatives, with_control
from heliograph_runtime.engines.diffusers.sharing import share
from heliograph_runtime.engines.diffusers.weights import check_folder
from heliograph_runtime.engines.paths import inside
from heliograph_runtime.engines.protocol import LoadError

_FIELD = "diffusers.control_net"


def load_control_net(path: str, *, models_dir: Path, dtype: torch.dtype) -> Any:
    """Return a ControlNet, in main memory.

    Args:
        path: `diffusers.control_net`, a folder in diffusers' layout, relative to the models folder.
        models_dir: The models folder.
        dtype: Number type of its weights.

    Raises:
        LoadError: There is none, it is unsafe, or diffusers has no such class.
    """
    folder = inside(path, models_dir=models_dir, field=_FIELD)
    if not folder.is_dir():
        raise LoadError(
            "UnknownFormat",
            f"{_FIELD}: {path} is no folder; put the ControlNet's config.json and safetensors into a folder of its own",
        )
    check_folder(folder, models_dir=models_dir, field=_FIELD)
    control_class = _class_of(folder, models_dir=models_dir)
    variant = "fp16" if all(".fp16" in path.name for path in folder.glob("*.safetensors")) else None
    try:
        return control_class.from_pretrained(
            str(folder), dtype=dtype, variant=variant, use_safetensors=True, local_files_only=True
        ).eval()
    except Exception as error:  # diffusers raises anything
        detail = " ".join(str(error).split())[:300]
        raise LoadError(
            "LoadFailed", f"{_FIELD}: {control_class.__name__} can't be made of {folder}; fetch it again ({detail})"
        ) from None


def add_control_net(pipeline: Any, control: Any) -> Any:
    """Return a pipeline with a ControlNet beside all parts of another one.

    Raises:
        LoadError: The family has no pipeline that follows one, or the ControlNet is for another model.
    """
    union = "Union" in type(control).__name__
    found = (with_control(plain, union=union) for plain in relatives(type(pipeline)).values())
    pipeline_class = next((it for it in found if it is not None), None)
    if pipeline_class is None:
        raise LoadError(
            "Unsupported",
            f"{_FIELD}: diffusers has no {type(pipeline).__name__} that follows a {type(control).__name__}; remove it",
        )
    expected = signature(pipeline_class.__init__).parameters["controlnet"].annotation
    unet = getattr(getattr(pipeline, "unet", None), "config", {})
    widths = [config.get("cross_attention_dim") for config in (unet, control.config)] if unet else []
    if type(control) not in (get_args(expected) or (expected,)) or len(set(map(str, widths))) > 1:
        raise LoadError(
            "LoadFailed",
            f"{_FIELD}: the {type(control).__name__} is not for this {type(pipeline).__name__}; use one that is",
        )
    return share(pipeline, pipeline_class, {"controlnet": control})


def read_control_mode(pipeline: Any, options: Mapping[str, Any]) -> dict[str, int]:
    """Return which kind of control image a ControlNet for several is given, as the argument of a call; else nothing.

    Raises:
        LoadError: The ControlNet is for several, and the options don't name one of them.
    """
    config: Mapping[str, Any] = getattr(getattr(pipeline, "controlnet", None), "config", {})
    kinds = config.get("num_control_type") or config.get("num_mode")
    if not kinds:
        return {}
    mode = options.get("control_mode")
    if isinstance(mode, list) and len(mode) == 1:
        mode = mode[0]
    if not isinstance(mode, int) or not 0 <= mode < kinds:
        raise LoadError(
            "InvalidSpec",
            f"options: control_mode must be a number from 0 to {kinds - 1}, not {mode}: the ControlNet is for so many "
            "kinds of control images, and its makers say which is which",
        )
    return {"control_mode": mode}


def _class_of(folder: Path, *, models_dir: Path) -> Any:
    config = inside(folder / "config.json", models_dir=models_dir, field=_FIELD)
    try:
        name = json.loads(config.read_bytes())["_class_name"]
    except (ValueError, KeyError, TypeError):
        name = None
    found = getattr(diffusers, name, None) if isinstance(name, str) and "ControlNet" in name else None
    if not (isinstance(found, type) and issubclass(found, diffusers.ModelMixin)):
        raise LoadError(
            "UnknownFormat", f"{_FIELD}: {config} names no ControlNet of diffusers {diffusers.__version__}; use one"
        )
    return found
