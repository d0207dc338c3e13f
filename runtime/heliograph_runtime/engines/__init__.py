"""The engines, each imported only when a model asks for it: this package itself needs none of their libraries."""

from heliograph_api.engine import choose_engine
from heliograph_api.errors import SpecError
from heliograph_api.spec import ImageModelSpec
from heliograph_runtime.engines.protocol import Engine, LoadError


def make_engine(spec: ImageModelSpec) -> Engine:
    """Return the engine that a spec asks for, with nothing loaded yet.

    Raises:
        LoadError: The spec names no engine, or one that is not installed here.
    """
    try:
        choice = choose_engine(spec)
    except SpecError as error:
        raise LoadError("InvalidSpec", str(error)) from None
    if choice.name == "sdcpp":
        return _make_sdcpp()
    from heliograph_runtime.engines.diffusers.engine import DiffusersEngine  # noqa: PLC0415 - see the module docstring

    return DiffusersEngine()


def _make_sdcpp() -> Engine:
    try:
        from heliograph_runtime.engines.sdcpp.engine import SdcppEngine  # noqa: PLC0415 - see the module docstring
    except (ImportError, OSError, RuntimeError):  # the package raises the last for a library that lacks a driver
        raise LoadError(
            "EngineMissing",
            "spec.backend: stable-diffusion.cpp is not installed here, or lacks the driver that it was built for; "
            "use a runtime image that has both, or install Heliograph with its extra sdcpp",
        ) from None
    return SdcppEngine()
