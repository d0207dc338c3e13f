"""Settings of the gateway, read once when it starts."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from platformdirs import user_data_path
from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIN_SIGNING_KEY = 16
"""Least length of the key that links are signed with, in bytes."""


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
    response_format: Literal["url", "b64_json", "both"] | None = None
    """How pictures come back where neither the request nor its model says so; `both` when absent."""
    max_body_bytes: Annotated[int, Field(ge=1)] = 64 * 1024 * 1024
    """Largest request body in bytes; a larger one is answered 413."""
    connect_timeout: Annotated[float, Field(gt=0)] = 5.0
    """Seconds to wait for a connection to a runtime before the next replica is tried."""
    read_timeout: Annotated[float, Field(gt=0)] = 600.0
    """Seconds to wait for each part of a runtime's answer; OpenAI's clients wait 600 as well."""
    shutdown_timeout: Annotated[int, Field(ge=1)] = 600
    """Seconds that requests have to finish after SIGTERM."""

    hold_seconds: Annotated[float, Field(gt=0)] = 300.0
    """Seconds that a request is held while a model with `spec.serving.scaling` starts; then it is answered 503."""
    max_held_per_model: Annotated[int, Field(ge=1)] = 64
    """Requests that are held for one model; more are answered 429. A runtime queues as many by itself."""
    max_held: Annotated[int, Field(ge=1)] = 1024
    """Requests that are held in all; more are answered 429."""
    max_held_bytes: Annotated[int, Field(ge=1)] = 256 * 1024 * 1024
    """Largest sum of the bodies of held requests in bytes; more are answered 429."""
    load_port: Annotated[int | None, Field(ge=0, le=65_535)] = None
    """Port on which the operator's autoscaler reads how many requests each model has; none is opened when absent.
    Nothing else may reach it."""

    data_dir: Path = Field(default_factory=lambda: user_data_path("heliograph", appauthor=False) / "gateway")
    """Folder of the stored files, the database and the signing key; in the user's data folder unless it is given.
    SQLite needs a local file system."""
    database_url: SecretStr | None = None
    """Database of the video jobs and of the list of files, sqlite:///PATH; a file in the data folder when absent."""
    file_ttl_seconds: Annotated[int, Field(ge=1)] = 3600
    """Seconds that a picture answered as a URL can be downloaded; OpenAI's links live for 60 minutes as well."""
    video_ttl_seconds: Annotated[int, Field(ge=1)] = 86_400
    """Seconds that a video job and its clip are kept after the job's end."""
    video_wait_seconds: Annotated[float, Field(gt=0)] = 3600
    """Seconds that a video job waits for a model that is not ready or has too much to do, before it fails."""
    max_video_jobs: Annotated[int, Field(ge=1)] = 100
    """Video jobs that wait or are at work; more are answered 429."""
    max_stored_bytes: Annotated[int, Field(ge=1)] = 8 * 1024**3
    """Largest sum of the stored files in bytes; the oldest are deleted to keep to it."""

    external_url: str | None = None
    """URL under which clients reach the gateway, for links to files, such as https://images.example.org; told from each
    request when absent."""
    trust_forwarded_headers: bool = True
    """Whether links to files follow X-Forwarded-Proto, X-Forwarded-Host and X-Forwarded-Prefix; a client that makes
    them up changes the links in its own answers only."""
    signing_key: SecretStr | None = None
    """Key that links to files are signed with, of 16 or more bytes; made once and kept in the data folder when
    absent."""

    image_url_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Hosts that input images given by URL are fetched from, comma-separated: HOST, *.DOMAIN or * for any, each with
    :PORT unless it is 80 or 443. None when empty. Only public addresses are connected to."""
    image_url_private_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Hosts, named likewise save for * alone, that images are fetched from even though their addresses are private."""
    image_url_max_bytes: Annotated[int, Field(ge=1)] = 20 * 1024 * 1024
    """Largest image in bytes that is fetched; those of one request together must fit `max_body_bytes` in base64."""
    image_url_timeout: Annotated[float, Field(gt=0)] = 15.0
    """Seconds that fetching one image may take, redirects included."""

    @field_validator("namespaces", "image_url_hosts", "image_url_private_hosts", mode="before")
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

    @field_validator("database_url")
    @classmethod
    def _served_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith("sqlite:///"):
            raise ValueError("only SQLite is served: write sqlite:///PATH, with four slashes before an absolute path")
        return value

    @field_validator("external_url")
    @classmethod
    def _plain_url(cls, value: str | None) -> str | None:
        if not value:
            return None
        parts = urlsplit(value)
        plain = value.isascii() and value.isprintable() and not set(value) & set(' "<>\\^`{|}')
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or not plain:
            raise ValueError("must be an http or https URL without query, such as https://images.example.org")
        if parts.username is not None:
            raise ValueError("must not hold a user name: it would be in every link")
        return value.rstrip("/")

    @field_validator("signing_key")
    @classmethod
    def _long_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        key = value.get_secret_value().strip()
        if len(key.encode()) < MIN_SIGNING_KEY:
            raise ValueError(f"must have {MIN_SIGNING_KEY} bytes or more; openssl rand -hex 32 makes one")
        return SecretStr(key)

    @field_validator("image_url_hosts", "image_url_private_hosts")
    @classmethod
    def _host_rules(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        # It needs packages of the extra, and `--help`, which reads this class, does not.
        from heliograph_gateway.fetching.hosts import parse_rule  # noqa: PLC0415

        for text in value:
            rule = parse_rule(text)
            if info.field_name == "image_url_private_hosts" and rule.any_host:
                raise ValueError("must name the hosts: any host at all could be an address inside the network")
        return value
