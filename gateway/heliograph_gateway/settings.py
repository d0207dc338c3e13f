"""Settings of the gateway, read once when it starts."""

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from platformdirs import user_data_path
from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIN_SIGNING_KEY = 16
"""Least length of the key that links are signed with, in bytes."""

_POSTGRES = ("postgresql://", "postgres://")
_HOST = re.compile(r"(?:[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_HOST_NAME = re.compile(r"\*|(?:\*\.)?[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?")


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
    """Key with every scope that requests may carry, as `Authorization: Bearer KEY` or `api-key: KEY`; its name is
    `default`. No key is asked for when there are neither this one nor `keys_file`."""
    keys_file: Path | None = None
    """File with a document of API keys, or folder of such files, as a mounted Secret is one; read anew when they
    change."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins of web pages that may ask the gateway from a browser, comma-separated, such as https://app.example.org; *
    for any. None but the gateway's own when empty."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Further names under which clients may ask a gateway that has no keys, comma-separated: HOST, *.DOMAIN or * for
    any. Addresses, names without a dot, those that end in .localhost, .internal, .home.arpa, .svc or
    .svc.cluster.local, and that of `external_url` need not be told; any other may have been led here by a foreign web
    page, and is answered 403."""
    tls_cert_file: Path | None = None
    """File with the certificate for HTTPS and those that lead to its issuer, in PEM; read anew when it changes. HTTP is
    served when absent."""
    tls_key_file: Annotated[Path | None, Field(validate_default=True)] = None
    """File with the private key of `tls_cert_file`, in PEM and without a password."""
    default_model: str | None = None
    """Model of a request that names none; the first by name that is ready when absent."""
    response_format: Literal["url", "b64_json", "both"] | None = None
    """How pictures come back where neither the request nor its model says so; `both` when absent."""
    playground: bool = True
    """Whether there are pages: the playground at / and the admin page at /admin."""
    max_body_bytes: Annotated[int, Field(ge=1)] = 64 * 1024 * 1024
    """Largest request body in bytes; a larger one is answered 413."""
    connect_timeout: Annotated[float, Field(gt=0)] = 5.0
    """Seconds to wait for a connection to a runtime before the next replica is tried."""
    read_timeout: Annotated[float, Field(gt=0)] = 600.0
    """Seconds to wait for each part of a runtime's answer; OpenAI's clients wait 600 as well."""
    max_answer_bytes: Annotated[int, Field(ge=1)] = 1024**3
    """Largest answer of a runtime in bytes, events included; a larger one is cut off, or answered 502."""
    max_whole_answer_bytes: Annotated[int, Field(ge=1)] = 224 * 1024 * 1024
    """Largest answer, or event, in bytes that is changed on its way, and so kept in memory as a whole, as links,
    /sdapi/v1 and clips take; a larger one is answered 502. It fits ten PNG files of 2048x2048 pixels with transparency
    in base64 that no compression makes smaller; more where models allow more (`serving.limits`)."""
    max_buffered_answer_bytes: Annotated[int, Field(ge=1)] = 256 * 1024 * 1024
    """Largest sum of those answers in bytes, and so of one, whatever `max_whole_answer_bytes` is; more are answered
    503. One more than the largest must fit into the memory beside them."""
    shutdown_timeout: Annotated[int, Field(ge=1)] = 600
    """Seconds that requests have to finish after SIGTERM."""

    max_connections: Annotated[int, Field(ge=1)] = 4096
    """Connections of clients at a time. Beyond that, one that waits for its next request makes room; where none does, a
    new one is answered 503."""
    header_seconds: Annotated[float, Field(gt=0)] = 10.0
    """Seconds that the head of a request may take."""
    body_seconds: Annotated[float, Field(gt=0)] = 30.0
    """Seconds without a byte of a request's body before it is answered 408."""
    write_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Seconds after which a client is cut that did not read `min_bytes_per_second` of its answer in them."""
    min_bytes_per_second: Annotated[int, Field(ge=0)] = 500
    """Least rate of a request's body after `body_seconds`, and of an answer that waits to be read."""
    keep_alive_seconds: Annotated[int, Field(ge=1)] = 75
    """Seconds that a connection may wait for its next request; longer than the 60 after which common load balancers
    close theirs, so that they do it first."""
    max_buffered_bytes: Annotated[int, Field(ge=0)] = 64 * 1024 * 1024
    """Largest sum of the request bodies in memory in bytes. Of each no more than 1 MiB is; the rest, and all that is
    beyond this, is kept in files without a name in the folder for temporary files."""
    max_spooled_bytes: Annotated[int, Field(ge=1)] = 4 * 1024**3
    """Largest sum of those files in bytes; more is answered 503."""

    hold_seconds: Annotated[float, Field(gt=0)] = 300.0
    """Seconds that a request is held while a model with `spec.serving.scaling` starts, which is then answered 503, or
    until a replica has room for it, which is then answered 429."""
    max_at_replica: Annotated[int, Field(ge=1)] = 16
    """Requests that this gateway keeps at one replica, at work or in its queue; others are held and sent in turn with
    those of other keys. A model's own `serving.limits.max_concurrent` lowers it, as does a replica that refuses some.
    """
    max_held_per_model: Annotated[int, Field(ge=1)] = 64
    """Requests that are held for one model, unless its `serving.limits.max_queued` says otherwise; more are answered
    429."""
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
    """Database of video jobs, quotas, usage and the list of files: sqlite:///PATH, or, for several gateways,
    postgresql://USER:PASSWORD@HOST/DATABASE with libpq's parameters, such as sslmode=verify-full. A file in the data
    folder when absent."""
    files_url: str | None = None
    """Where stored files are: file:///FOLDER, or a bucket, s3://BUCKET/PREFIX, gs:// or az://, with credentials and
    address from the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL and so on). In the data folder when absent."""
    file_ttl_seconds: Annotated[int, Field(ge=1)] = 3600
    """Seconds that a picture answered as a URL can be downloaded; OpenAI's links live for 60 minutes as well."""
    video_ttl_seconds: Annotated[int, Field(ge=1)] = 86_400
    """Seconds that a video job and its clip are kept after the job's end."""
    video_wait_seconds: Annotated[float, Field(gt=0)] = 3600
    """Seconds that a video job waits for a model that is not there, not ready or too busy, before it fails."""
    max_video_jobs: Annotated[int, Field(ge=1)] = 100
    """Video jobs that wait or are at work; more are answered 429."""
    max_video_jobs_per_owner: Annotated[int | None, Field(ge=1)] = None
    """Video jobs of one API key that wait or are at work; more are answered 429. A quarter of `max_video_jobs` when
    absent; where no key is asked for, only that counts."""
    max_running_video_jobs: Annotated[int, Field(ge=1)] = 16
    """Video jobs that this gateway works on at once; the others wait in the database. No more than half of them are for
    the same model and API key."""
    max_stored_bytes: Annotated[int, Field(ge=1)] = 8 * 1024**3
    """Largest sum of the stored files in bytes; the oldest are deleted to keep to it."""

    usage_days: Annotated[int, Field(ge=1, le=36_500)] = 400
    """Days that the record of what each API key used is kept; GET /v1/usage reads it."""
    log_format: Literal["plain", "json"] = "plain"
    """Lines of the log: text, or a JSON object each."""

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

    @property
    def asks_for_keys(self) -> bool:
        """Return whether requests must carry a key."""
        return self.api_key is not None or self.keys_file is not None

    @field_validator(
        "namespaces", "cors_origins", "allowed_hosts", "image_url_hosts", "image_url_private_hosts", mode="before"
    )
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

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            if origin != "*" and (
                parts.scheme not in {"http", "https"} or f"{parts.scheme}://{parts.netloc}" != origin
            ):
                raise ValueError(
                    "must be origins, such as https://app.example.org or http://localhost:3000, without a slash at the "
                    "end; or * for any"
                )
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _host_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _HOST_NAME.fullmatch(name):
                raise ValueError("must be names, such as images.example.org or *.example.org, without a port; or *")
        return tuple(name.lower() for name in value)

    @field_validator("keys_file", "tls_cert_file", "tls_key_file", mode="before")
    @classmethod
    def _no_file(cls, value: object) -> object:
        # An empty variable is how a shell leaves one out; as a path it would be the working folder.
        return None if value == "" else value

    @field_validator("tls_key_file")
    @classmethod
    def _both_of_tls(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if (value is None) != (info.data.get("tls_cert_file") is None):
            raise ValueError("goes together with tls_cert_file: give both, or neither")
        return value

    @field_validator("database_url")
    @classmethod
    def _served_database(cls, value: SecretStr | None) -> SecretStr | None:
        url = value.get_secret_value().strip() if value else ""
        if not url:
            return None
        if not url.startswith(("sqlite:///", *_POSTGRES)):
            raise ValueError(
                "write sqlite:///PATH, with four slashes before an absolute path, or "
                "postgresql://USER:PASSWORD@HOST/DATABASE"
            )
        if url.startswith(_POSTGRES) and not _is_postgres_url(url):
            raise ValueError(
                "must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE; write what is special in the password in "
                "percent encoding, such as %40 for @"
            )
        return SecretStr(url)

    @field_validator("files_url")
    @classmethod
    def _served_files(cls, value: str | None) -> str | None:
        if not value:
            return None
        parts = urlsplit(value)
        if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
            return value
        if parts.scheme not in {"s3", "gs", "az"} or not parts.netloc:
            raise ValueError("must be file:///FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError(
                "must hold no credentials and no query: set those in the environment, as AWS_ACCESS_KEY_ID"
            )
        return value

    @field_validator("external_url")
    @classmethod
    def _plain_url(cls, value: str | None) -> str | None:
        if not value:
            return None
        parts = urlsplit(value)
        plain = value.isascii() and value.isprintable() and not set(value) & set(' "#<>?\\^`{|}')
        if parts.scheme not in {"http", "https"} or not parts.hostname or not plain:
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

    @property
    def video_jobs_per_owner(self) -> int:
        """Return how many video jobs of one key may wait or be at work."""
        return self.max_video_jobs_per_owner or max(1, self.max_video_jobs // 4)


def _is_postgres_url(url: str) -> bool:
    """Return whether a URL names a host and a database, and is read alike by whatever reads it.

    What it says is never shown: it holds a password.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    hosts = parts.netloc.rpartition("@")[2]
    return (
        parts.netloc.count("@") <= 1
        and "@" not in parts.path
        and len(parts.path) > 1
        and not parts.fragment
        and all(_HOST.fullmatch(host) for host in hosts.split(","))
    )
