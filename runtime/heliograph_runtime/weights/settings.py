"""Settings of the fetcher, read once by the command line."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

FOLDER = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"
"""What the name of a model's folder looks like."""
Names = Annotated[tuple[str, ...], NoDecode]


class FetchSettings(BaseSettings):
    """Settings of one fetch; each is also an environment variable, `HELIOGRAPH_FETCH_VOLUME` and the like.

    How sources are reached is what other clients read from the environment too: see `main.read_access`.
    """

    model_config = SettingsConfigDict(env_prefix="HELIOGRAPH_FETCH_", frozen=True, use_attribute_docstrings=True)

    manifest: Path
    """File with the one ImageModel whose weights are fetched, as YAML or JSON."""
    volume: Path
    """Folder that weights are fetched into; several fetches may use it at once."""
    name: Annotated[str, Field(pattern=FOLDER)]
    """Name of the model's folder, which will be models/NAME in the volume."""
    models_dir: Path | None = None
    """Folder with files that need not be fetched: what names one of them is a path, and no repository."""
    host: str = "127.0.0.1"
    """Address on which /progress, /healthz and /metrics are answered."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    """Port of these."""
    keep: Names | None = None
    """Names of the folders that stay beside this one when the volume is tidied up; unless it is given, all stay, and
    what there is of models that are not whole yet."""
    unchanged_seconds: Annotated[float, Field(ge=0)] = 3600
    """What was changed in so many seconds stays, whether it is named or not."""
    max_bytes: Annotated[int, Field(ge=1)] | None = None
    """Most bytes that the weights may have; any number unless given."""
    plain_http_registries: Names = ()
    """OCI registries, as HOST:PORT, that are spoken to without TLS; those on this machine always are."""
    local_files: bool = False
    """Allow file:// sources, which are read as whoever runs this; not for manifests of others."""
    watch_stdin: bool = False
    """End when standard input closes, so that the fetch ends with the process that started it."""
    termination_log: Path = Path("/dev/termination-log")
    """File that is told how it ended, if it is there: a container's termination message."""

    @field_validator("keep", "plain_http_registries", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
