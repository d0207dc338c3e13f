"""Files in a bucket: Amazon's S3 and what speaks its protocol, Google's and Azure's.

Address and credentials are what the environment says, as for these services' own clients: AWS_ENDPOINT_URL,
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_CA_BUNDLE and the rest.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    GenericError,
    NotSupportedError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import ObjectStore, from_url

from heliograph_gateway.backends import StateError
from heliograph_gateway.files.storage import (
    MARKER,
    StorageUnavailableError,
    checked_id,
    of_another_installation,
)

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ClientConfig

logger = logging.getLogger(__name__)

_PIECE = 256 * 1024
_SHORT_SECONDS = 30
"""For what moves no more than a few bytes."""
_LONG_SECONDS = 120
"""For an upload."""
_REFUSED = (PermissionDeniedError, UnauthenticatedError, FileNotFoundError)


class BucketStorage:
    """One object for each file, below the URL's prefix; see `Storage`."""

    def __init__(self, url: str, environment: Mapping[str, str]) -> None:
        """Keep files in a bucket; nothing is asked yet.

        Args:
            url: `s3://BUCKET/PREFIX` or the like.
            environment: Variables that tell where it is and who may use it.
        """
        self._url = url
        self._environment = environment
        self._installation = ""
        self._marked = False
        self._marking = asyncio.Lock()
        self._opened: ObjectStore | None = None

    async def open(self, installation: str | None) -> None:
        """Mark the bucket as this installation's; see `Storage.open`.

        A bucket that cannot be reached is marked once it can, before anything is done with it: pictures that nobody
        wants as links are drawn meanwhile.
        """
        if installation is None:
            raise ValueError("anybody may use the same bucket")
        self._installation = installation
        self._opened = self._connected()
        try:
            await self._mark()
        except StorageUnavailableError as error:
            if isinstance(error.__cause__, _REFUSED):
                raise StateError(
                    f"files_url: {self._url} cannot be used: {error.why}; correct the URL, or give the gateway "
                    "credentials that may read, write and delete there"
                ) from None
            logger.error("files_url: %s cannot be reached yet: %s", self._url, error.why)  # noqa: TRY400 - foreseen

    async def write(self, file_id: str, content: bytes, *, media_type: str) -> None:
        """Keep a file, by one request."""
        async with self._usable(_LONG_SECONDS) as store:
            # An upload in parts that is broken off leaves parts that are in no list.
            attributes = {"Content-Type": media_type}
            await obstore.put_async(store, checked_id(file_id), content, attributes=attributes, use_multipart=False)

    async def exists(self, file_id: str) -> bool:
        """Return whether a file is there."""
        async with self._usable(_SHORT_SECONDS) as store:
            try:
                await obstore.head_async(store, checked_id(file_id))
            except FileNotFoundError:
                return False
            return True

    @contextlib.asynccontextmanager
    async def reading(self, file_id: str, start: int, stop: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """Yield what yields the bytes; see `Storage.reading`."""
        options: GetOptions = {"range": (start, stop)}
        async with self._usable(_SHORT_SECONDS) as store:
            try:
                found = await obstore.get_async(store, checked_id(file_id), options=options)
            except FileNotFoundError:
                found = None
        if found is None:
            raise FileNotFoundError(file_id)
        with _foreseen():
            yield found.stream(min_chunk_size=_PIECE)

    async def remove(self, file_ids: Sequence[str]) -> None:
        """Remove files."""
        keys = [checked_id(file_id) for file_id in file_ids]
        async with self._usable(_LONG_SECONDS) as store:
            try:
                await obstore.delete_async(store, keys)
            except FileNotFoundError:
                # S3 has no such error; elsewhere one that is gone already hides what became of the others.
                for key in keys:
                    with contextlib.suppress(FileNotFoundError):
                        await obstore.delete_async(store, key)

    @contextlib.asynccontextmanager
    async def _usable(self, seconds: float) -> AsyncIterator[ObjectStore]:
        """Give the bucket for some seconds, once it is known to be this installation's."""
        with _foreseen():
            async with asyncio.timeout(seconds):
                try:
                    await self._mark()
                except StateError as error:
                    raise StorageUnavailableError(str(error)) from error
                yield self._store

    async def _mark(self) -> None:
        if self._marked:
            return
        async with self._marking:
            with _foreseen():
                async with asyncio.timeout(_SHORT_SECONDS):
                    found = await self._marker() or await self._new_marker()
        if found != self._installation:
            raise StateError(of_another_installation(f"files_url: {self._url}", f"the object {MARKER}"))
        self._marked = True

    async def _marker(self) -> str:
        """Return whose the bucket is; nothing when it is nobody's."""
        try:
            found = await obstore.get_async(self._store, MARKER)
        except FileNotFoundError:
            return ""
        return bytes(await found.bytes_async()).decode(errors="replace").strip()

    async def _new_marker(self) -> str:
        """Make the bucket this installation's, and return whose it is: another one may have come first."""
        content = f"{self._installation}\n".encode()
        try:
            await obstore.put_async(self._store, MARKER, content, mode="create", use_multipart=False)
        except AlreadyExistsError:
            pass
        except (GenericError, NotSupportedError):
            # Some services have no conditional writes.
            await obstore.put_async(self._store, MARKER, content, use_multipart=False)
        return await self._marker()

    @property
    def _store(self) -> ObjectStore:
        if self._opened is None:
            raise RuntimeError("the bucket was not opened")
        return self._opened

    def _connected(self) -> ObjectStore:
        given = self._environment
        key, secret = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
        for name, other in ((key, secret), (secret, key)):
            if self._url.startswith("s3:") and given.get(name) and not given.get(other):
                raise StateError(f"files_url: {name} is set and {other} is not; set both, or neither for a role's own")
        endpoint = given.get("AWS_ENDPOINT_URL_S3") or given.get("AWS_ENDPOINT_URL")
        options: ClientConfig = {
            "allow_http": bool(endpoint and endpoint.startswith("http://")),
            "connect_timeout": "5s",
            "read_timeout": "60s",
            "timeout": "1h",  # as long as a client takes a clip, it may take its time
        }
        if bundle := given.get("AWS_CA_BUNDLE"):
            try:
                options["root_certificate"] = Path(bundle).read_bytes()
            except OSError as error:
                raise StateError(f"AWS_CA_BUNDLE: {bundle} cannot be read: {error.strerror}; name a PEM file") from None
        try:
            return from_url(
                self._url,
                config={"endpoint": endpoint} if endpoint and self._url.startswith("s3:") else {},
                client_options=options,
                retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=10)},
            )
        except (BaseError, ValueError) as error:
            raise StateError(f"files_url: {self._url} cannot be used: {_first_line(error)}") from None


@contextlib.contextmanager
def _foreseen() -> Iterator[None]:
    """Turn what the client raises into `StorageUnavailableError`."""
    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        raise StorageUnavailableError(_first_line(error)) from error
    except TimeoutError as error:
        raise StorageUnavailableError("it does not answer in time") from error


def _first_line(error: Exception) -> str:
    """Return what is wrong; the rest is for who debugs the client."""
    return str(error).partition("\n")[0]
