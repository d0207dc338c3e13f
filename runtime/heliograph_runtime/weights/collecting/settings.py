"""Settings of a collection, read once by the command line."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from heliograph_runtime.weights.settings import FOLDER, Names


class CollectSettings(BaseSettings):
    """Settings of one collection; each is also an environment variable, `HELIOGRAPH_COLLECT_VOLUME` and the like."""

    model_config = SettingsConfigDict(env_prefix="HELIOGRAPH_COLLECT_", frozen=True, use_attribute_docstrings=True)

    volume: Path
    """Folder that weights were fetched into."""
    remove: Annotated[Names, Field(min_length=1)]
    """Names of the folders to remove, which are models/NAME in the volume; nobody may use them any more."""
    wait_seconds: Annotated[float, Field(ge=0)] = 300
    """Seconds to wait for fetches that are at work in the volume, before giving up for now."""

    @field_validator("remove", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("remove")
    @classmethod
    def _check(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not re.fullmatch(FOLDER, name):
                raise ValueError(f"{name!r} is no name of a model's folder; write what is below models/ in the volume")
        return names
