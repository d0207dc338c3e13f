"""Settings of the gateway, read once when it starts."""

from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class GatewaySettings(BaseSettings):
    """Settings of the gateway; each comes from `HELIOGRAPH_GATEWAY_<NAME>` unless it is given."""

    model_config = SettingsConfigDict(env_prefix="HELIOGRAPH_GATEWAY_", frozen=True, use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for every IPv4 address of the machine."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    """Port to listen on; 0 takes a free one."""
    namespaces: Annotated[tuple[str, ...], NoDecode] = ()
    """Namespaces whose ImageModels are served, comma-separated; all namespaces when empty."""
    api_key: SecretStr | None = None
    """Key that every request must carry, as `Authorization: Bearer KEY` or `api-key: KEY`; no key is asked for when
    absent."""
    default_model: str | None = None
    """Model of a request that names none; the first by name that is ready when absent."""
    max_body_bytes: Annotated[int, Field(ge=1)] = 20 * 1024 * 1024
    """Largest request body in bytes; a larger one is answered 413."""
    connect_timeout: Annotated[float, Field(gt=0)] = 5.0
    """Seconds to wait for a connection to a runtime before the next replica is tried."""
    read_timeout: Annotated[float, Field(gt=0)] = 600.0
    """Seconds to wait for each part of a runtime's answer; OpenAI's clients wait 600 as well."""
    shutdown_timeout: Annotated[int, Field(ge=1)] = 600
    """Seconds that requests have to finish after SIGTERM."""

    @field_validator("namespaces", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("api_key")
    @classmethod
    def _usable_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        # A Secret made from a file often ends in a newline, which no header can carry.
        key = value.get_secret_value().strip()
        if not key:
            raise ValueError("must not be empty: write a key, or leave it unset to ask for none")
        return SecretStr(key)
