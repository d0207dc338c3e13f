"""The keys that the gateway knows, read anew while it runs."""

import asyncio
import contextlib
import hmac
import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from heliograph_gateway.database import StateError
from heliograph_gateway.keys.caller import ADMIN, ANONYMOUS, MODELS, Caller
from heliograph_gateway.keys.document import Key, KeysError, digest_of, distinct, parse_keys
from heliograph_gateway.settings import GatewaySettings

logger = logging.getLogger(__name__)

DEFAULT_NAME = "default"
"""Name of the key that the setting `api_key` holds."""
_POLL_SECONDS = 2.0
_MOST_BYTES = 1024 * 1024
_SWAPPED = "..data"
"""The link that Kubernetes turns to another folder when a mounted Secret changes."""

_Contents = list[tuple[str, bytes]]


class Keyring:
    """The key of the setting `api_key` and those of the documents that `keys_file` names.

    Documents are looked at every 2 s. One that cannot be used changes nothing: the keys that were read last stay.

    Attributes:
        problem: Why the documents could not be read the last time; empty when they could.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        """Take the settings; `open` reads the documents."""
        self._path: Path | None = settings.keys_file
        self._own = _own_key(settings)
        self._by_digest = {key.sha256: key for key in self._own}
        self._contents: _Contents = []
        self._watcher: asyncio.Task[None] | None = None
        self.problem = ""

    async def open(self) -> None:
        """Read the documents, and begin to look after them.

        Raises:
            StateError: They cannot be used.
        """
        if self._path is None or self._watcher:
            return
        try:
            await self._reload()
        except (OSError, KeysError) as error:
            raise StateError(f"keys_file: {self._told(error)}") from None
        self._watcher = asyncio.create_task(self._watch(), name="keys")

    async def aclose(self) -> None:
        """Look after the documents no longer."""
        if self._watcher:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
            self._watcher = None

    def find(self, offered: Iterable[bytes]) -> Key | None:
        """Return the first of the keys that a request offers which is known, usable or not."""
        for secret in offered:
            digest = digest_of(secret)
            key = self._by_digest.get(digest)
            if key and hmac.compare_digest(key.sha256, digest):
                return key
        return None

    def __len__(self) -> int:
        """Return how many keys there are."""
        return len(self._by_digest)

    def names(self) -> set[str]:
        """Return the names of all keys."""
        return {key.name for key in self._by_digest.values()}

    def caller(self, name: str) -> Caller:
        """Return who makes what goes on after a request that carried a key of this name, of whichever it was.

        Where no key is called so any more, nobody limits it.
        """
        callers = [key.caller for key in self._by_digest.values() if key.name == name]
        models = {pattern for caller in callers for pattern in caller.models}
        limited = bool(callers) and all(caller.models for caller in callers)
        return replace(ANONYMOUS, name=name, models=tuple(sorted(models)) if limited else ())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            try:
                changed = await self._reload()
            except (OSError, KeysError) as error:
                self._note(self._told(error))
            except Exception as error:
                # A key that is withdrawn later is not to stay valid. The error's own words might show the document.
                bare = KeysError(type(error).__name__).with_traceback(error.__traceback__)
                self._note(f"{self._path}: cannot be read: {bare} inside the gateway", bare)
            else:
                if changed or self.problem:
                    logger.info("keys_file: %d keys are in force", len(self._by_digest))
                self.problem = ""

    def _note(self, problem: str, error: KeysError | None = None) -> None:
        """Keep why the documents could not be read, and log it once, with an error's traceback if one is given."""
        if problem != self.problem:
            logger.error("keys_file: %s; the keys that were read before stay in force", problem, exc_info=error)
        self.problem = problem

    async def _reload(self) -> bool:
        """Read the documents and return whether they have changed."""
        assert self._path is not None  # noqa: S101 - who has no path does not call this
        contents = await asyncio.to_thread(_read, self._path)
        if contents == self._contents:
            return False
        # A megabyte of YAML takes seconds, in which requests go on.
        keys = await asyncio.to_thread(lambda: distinct([*self._own, *_parsed(contents)]))
        self._by_digest = {key.sha256: key for key in keys}
        self._contents = contents
        return True

    def _told(self, error: OSError | KeysError) -> str:
        if isinstance(error, OSError):
            return f"{self._path} cannot be read: {error.strerror}; name a file or folder of keys documents"
        return f"{self._path}: {error}"


class KeyMetrics(Collector):
    """What is told of the keys: whether their documents are in force, and how many there are."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the metrics."""
        yield GaugeMetricFamily(
            "heliograph_gateway_keys_file_ok",
            "1 while the keys documents can be read; 0 while those that were read before stay in force.",
            value=float(not self._keyring.problem),
        )
        yield GaugeMetricFamily("heliograph_gateway_keys", "API keys that are known.", value=float(len(self._keyring)))


def _own_key(settings: GatewaySettings) -> list[Key]:
    if settings.api_key is None:
        return []
    digest = digest_of(settings.api_key.get_secret_value())
    return [Key(name=DEFAULT_NAME, sha256=digest, scopes=(MODELS, ADMIN))]


def _read(path: Path) -> _Contents:
    """Return name and content of each document."""
    if not path.is_dir():
        return [("", _beginning(path))]
    # All from one folder, or a change in between would mix old and new.
    with contextlib.suppress(FileNotFoundError):
        path = (path / _SWAPPED).resolve(strict=True)
    files = sorted(file for file in path.iterdir() if not file.name.startswith(".") and file.is_file())
    if not files:
        raise KeysError("the folder holds no keys document; `heliograph keys create` makes one")
    return [(file.name, _beginning(file)) for file in files]


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MOST_BYTES + 1)


def _parsed(contents: _Contents) -> Iterator[Key]:
    for name, content in contents:
        place = f"{name}: " if name else ""
        if len(content) > _MOST_BYTES:
            raise KeysError(f"{place}is longer than {_MOST_BYTES} bytes; use several files in a folder")
        try:
            yield from parse_keys(content.decode())
        except UnicodeDecodeError:
            raise KeysError(f"{place}is not UTF-8") from None
        except KeysError as error:
            raise KeysError(f"{place}{error}") from None
