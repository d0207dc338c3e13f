"""What a model can do, as its runtime tells it and the gateway passes it on: operations, parameters and their limits.

A gateway trusts no runtime: it reads these bounded fields alone, and takes what else a schema says from the contract.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from heliograph_api.images.fields import FIELDS
from heliograph_api.images.paths import Operation

PATH = "/capabilities"
"""Where a runtime tells it."""

_MOST = 2**64
_Number = Annotated[int, Field(ge=-_MOST, le=_MOST)] | Annotated[float, Field(ge=-_MOST, le=_MOST, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0, le=2**32)]
_Name = Annotated[str, StringConstraints(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Names = Annotated[tuple[_Name, ...], Field(max_length=512)]


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", use_attribute_docstrings=True)


class Parameter(_Told):
    """In what a parameter of a model differs from that of others; the names are JSON schema's."""

    default: bool | _Number | _Name | None = None
    """Value where a request has none; null when nothing has one, or it depends on the request."""
    minimum: _Number | None = None
    """Least value."""
    maximum: _Number | None = None
    """Largest value."""
    multipleOf: Annotated[int, Field(ge=1, le=4096)] | None = None  # noqa: N815 - JSON schema's spelling
    """What values are rounded to multiples of."""
    maxItems: Annotated[int, Field(ge=0, le=1024)] | None = None  # noqa: N815 - as above
    """Most entries of a list."""
    enum: _Names | None = None
    """The values there are."""


class VideoLimits(_Told):
    """What holds for the clips of a model."""

    frames: _Count
    """Frames where a request names no number."""
    min_frames: _Count
    """Fewest frames."""
    max_frames: _Count
    """Most frames."""
    fps: _Count
    """Frames for each second where a request names no number."""
    last_image: bool
    """Whether the last frame can be given."""


class ModelCapabilities(_Told):
    """What a model can do."""

    revision: _Name
    """Digest of the spec that the runtime serves."""
    engine: Literal["diffusers", "sdcpp"]
    """Engine that serves it."""
    family: _Name
    """What it is of: a family of stable-diffusion.cpp's such as `FLUX.1-dev`, or a pipeline of diffusers such as
    `StableDiffusionXL`."""
    operations: Annotated[tuple[Operation, ...], Field(max_length=16)]
    """What it can be asked for."""
    parameters: Annotated[Mapping[_Name, Parameter], Field(max_length=128)]
    """The parameters that it has."""
    max_images: _Count
    """Most pictures of one request."""
    max_pixels: _Count
    """Most pixels of one picture."""
    max_references: _Count
    """Most pictures that a prompt can refer to; 0 when it refers to none."""
    control: bool
    """Whether it follows a control image beside the prompt."""
    previews: bool
    """Whether a stream can show unfinished pictures."""
    loras: _Names
    """Its LoRA adapters, which requests can weigh."""
    video: VideoLimits | None
    """What holds for its clips; null when it draws pictures."""

    def document(self) -> dict[str, Any]:
        """Return it as JSON, each parameter as the JSON schema of what it takes."""
        shown = self.model_dump(mode="json")
        return {
            **shown,
            "parameters": {field.name: self._schema(field.name) for field in FIELDS if self._has(field.name)},
        }

    def _has(self, name: str) -> bool:
        return name in self.parameters

    def _schema(self, name: str) -> dict[str, Any]:
        field = next(field for field in FIELDS if field.name == name)
        own = self.parameters[name].model_dump(mode="json", exclude_none=True)
        schema = {**field.takes.schema, **own, "description": field.meaning}
        if name == "loras":
            properties = {**schema["items"]["properties"], "id": {"type": "string", "enum": list(self.loras)}}
            schema["items"] = {**schema["items"], "properties": properties}
        return schema
