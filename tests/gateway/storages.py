"""Places for the bytes of files: folders and buckets, with a look behind the gateway's back."""

import os
from dataclasses import dataclass
from pathlib import Path

import obstore
from obstore.store import ObjectStore, from_url

from heliograph_gateway.files.bucket import BucketStorage
from heliograph_gateway.files.folder import FolderStorage
from heliograph_gateway.files.storage import MARKER, Storage

INSTALLATION = "0123456789abcdef"


@dataclass(frozen=True)
class FolderPlace:
    """A folder."""

    folder: Path

    @property
    def url(self) -> str:
        """Return it as the setting."""
        return self.folder.as_uri()

    def storage(self) -> Storage:
        """Return what keeps files there."""
        return FolderStorage(self.folder)

    def names(self) -> set[str]:
        """Return what is there, but for the marker."""
        return {path.name for path in self.folder.iterdir()} - {MARKER}

    def read(self, name: str) -> bytes:
        """Return what one of them holds."""
        return (self.folder / name).read_bytes()

    def clear(self) -> None:
        """Remove all of them."""
        for name in self.names():
            (self.folder / name).unlink()


@dataclass(frozen=True)
class BucketPlace:
    """A bucket, for which the environment has the keys."""

    url: str

    def storage(self) -> Storage:
        """Return what keeps files there."""
        return BucketStorage(self.url, os.environ)

    def names(self) -> set[str]:
        """Return what is there, but for the marker."""
        return {meta["path"] for page in obstore.list(self._store()) for meta in page} - {MARKER}

    def read(self, name: str) -> bytes:
        """Return what one of them holds."""
        return bytes(obstore.get(self._store(), name).bytes())

    def media_type(self, name: str) -> str:
        """Return what the bucket tells of an object's type."""
        return str(obstore.get(self._store(), name).attributes["Content-Type"])

    def clear(self) -> None:
        """Remove all of them."""
        obstore.delete(self._store(), sorted(self.names()))

    def _store(self) -> ObjectStore:
        return from_url(self.url, endpoint=os.environ["AWS_ENDPOINT_URL"], client_options={"allow_http": True})


Place = FolderPlace | BucketPlace
