"""Objects of S3 and of what speaks its protocol.

Address and credentials are what the environment says, as for other clients of S3: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_REGION; without a key the bucket is read as everybody may.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from heliograph_api.sources import BucketSource
from heliograph_runtime.weights.errors import FetchError
from heliograph_runtime.weights.listing import Entry, Listing
from heliograph_runtime.weights.remote import RemoteFile

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import S3Config

_PIECE = 8 << 20
_MOST_OBJECTS = 10_000
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_WEB_IDENTITY_TOKEN_FILE")
"""Variables that tell where credentials come from: a key, EKS' pod identity, or a role for a ServiceAccount."""


@dataclass(frozen=True, kw_only=True)
class ObjectFile(RemoteFile):
    """An object of a bucket.

    Attributes:
        store: The bucket.
        key_in_bucket: The object's key.
        version: Its entity tag; None when there is none.
    """

    store: S3Store = field(repr=False)
    key_in_bucket: str
    version: str | None

    def read(self, start: int) -> Iterator[bytes]:
        """Yield the object from a byte on; see `RemoteFile.read`."""
        options: GetOptions = {"range": {"offset": start}} if start else {}
        if self.version:
            options["if_match"] = self.version
        try:
            for piece in obstore.get(self.store, self.key_in_bucket, options=options).stream(min_chunk_size=_PIECE):
                yield bytes(piece)
        except (BaseError, FileNotFoundError) as error:
            raise _problem(error, self.field, self.name) from None


def list_bucket(source: BucketSource, *, field: str, environment: Mapping[str, str]) -> Listing:
    """Return the objects below a prefix, or the one object of a key.

    Raises:
        FetchError: They can't be listed.
    """
    try:
        store = _store(source.bucket, environment)
        if source.key and not source.key.endswith("/"):
            found = [obstore.head(store, source.key)]
        else:
            listed = (meta for page in obstore.list(store, source.key or None) for meta in page)
            found = list(islice(listed, _MOST_OBJECTS + 1))
    except (BaseError, FileNotFoundError) as error:
        raise _problem(error, field, f"s3://{source.bucket}/{source.key}") from None
    if not found:
        raise FetchError(
            "WeightsNotFound", f"{field}: s3://{source.bucket}/{source.key} holds nothing; correct the key"
        )
    if len(found) > _MOST_OBJECTS:
        raise FetchError(
            "InvalidSource",
            f"{field}: s3://{source.bucket}/{source.key} holds more than {_MOST_OBJECTS} objects; name the "
            "prefix of the model alone",
        )
    prefix = source.key if source.key.endswith("/") else source.key.removesuffix(PurePosixPath(source.key).name)
    objects = {meta["path"].removeprefix(prefix): meta for meta in found}

    def open_file(path: str, target: str) -> ObjectFile:
        meta = objects[path]
        return ObjectFile(
            field=field,
            target=target,
            name=f"s3://{source.bucket}/{meta['path']}",
            identity=f"s3 {source.bucket} {meta['path']} {meta['e_tag'] or meta['last_modified']} {meta['size']}",
            size=meta["size"],
            store=store,
            key_in_bucket=meta["path"],
            version=meta["e_tag"],
        )

    return Listing(
        f"s3://{source.bucket}/{source.key}", [Entry(path, meta["size"]) for path, meta in objects.items()], open_file
    )


def _store(bucket: str, environment: Mapping[str, str]) -> S3Store:
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    config: S3Config = {"skip_signature": not any(name in environment for name in _CREDENTIALS)}
    if endpoint:
        config["endpoint"] = endpoint
    return S3Store(
        bucket,
        config=config,
        client_options={
            "allow_http": bool(endpoint and endpoint.startswith("http://")),
            "connect_timeout": "20s",
            "read_timeout": "60s",
            "timeout": "7d",  # as long as bytes come, a file may take its time
        },
        # Further tries are told in the log, so they are for `download` to make.
        retry_config={"max_retries": 1, "retry_timeout": timedelta(seconds=30)},
    )


def _problem(error: Exception, field: str, name: str) -> FetchError:
    if isinstance(error, FileNotFoundError):
        return FetchError("WeightsNotFound", f"{field}: there is no {name}; correct the bucket or the key")
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
        return FetchError("WeightsUnauthorized", f"{field}: {name} may not be read; give the fetcher a key that may")
    return FetchError("SourceUnreachable", f"{field}: {name} can't be read now", passes=True)
