"""Settings of the runtime process, read once by whoever starts it."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class RuntimeSettings(BaseSettings):
    """Settings of one runtime; each is also an environment variable, `HELIOGRAPH_RUNTIME_PORT` and the like."""

    model_config = SettingsConfigDict(env_prefix="HELIOGRAPH_RUNTIME_", frozen=True, use_attribute_docstrings=True)

    manifest: Path
    """File with the one ImageModel to serve, as YAML or JSON."""
    models_dir: Path = Path("/models")
    """Folder in which the model's relative paths are looked up; nothing outside it is read."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    """Port to listen on."""
    watch_stdin: bool = False
    """Exit when standard input closes, so that the runtime ends with the process that started it."""
    request_timeout_seconds: Annotated[float, Field(gt=0)] = 300
    """Longest time from a request's arrival to its answer; also bounds how long a shutdown waits."""
    max_queue: Annotated[int, Field(ge=1)] = 64
    """Requests at work or waiting; more get 429. A model's own `max_concurrent` wins."""
    max_batch: Annotated[int, Field(ge=1, le=64)] = 8
    """Most images that are drawn in one pipeline call."""
    max_batch_pixels: Annotated[int, Field(ge=1)] = 2**22
    """Most pixels of all images of one call, 4194304 (4 of 1024x1024) unless given; one image is always drawn. A small
    image leaves a device idle, which more of them fill; large ones only wait for each other."""
    batch_wait_seconds: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Longest wait for clients that were just served to ask again, so that their next images are drawn together; never
    more than a twentieth of the time that the last call took, and none for a client that is alone. 0 turns it off."""
    max_body_bytes: Annotated[int, Field(ge=1024)] = 96 * 1024 * 1024
    """Largest request body in bytes; a larger one is answered 413."""
    max_input_pixels: Annotated[int, Field(ge=4096, le=2**26)] = 2**26
    """Most pixels of one input picture as it comes, 67108864 (8192x8192) unless given; a larger one is answered 400
    before it is decoded. Decoding takes up to 18 bytes of memory for each pixel, of one picture at a time."""
    cancel_grace_seconds: Annotated[float, Field(gt=0)] = 30
    """Time in which cancelled work must stop at its next step before the worker is killed."""
