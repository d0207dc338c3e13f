"""An informer: keeps a handler in step with a collection of the Kubernetes API."""

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, NoReturn, Protocol

from heliograph_gateway.kube import KubeApi, KubeError

logger = logging.getLogger(__name__)

Key = tuple[str, str]
"""Namespace and name."""

_GONE = 410
_SHORTEST_DELAY = 0.05
# An object that is deleted right when the API server is back must be gone from the routes within two seconds.
_LONGEST_DELAY = 1.0
_SILENCE_SLACK = 10.0


class Handler(Protocol):
    """What an informer tells about."""

    def changed(self, obj: Mapping[str, Any]) -> None:
        """Take in an object that is new or was changed."""

    def deleted(self, namespace: str, name: str) -> None:
        """Forget an object that was taken in."""


class Informer:
    """Lists a collection and watches it, for ever.

    While the API server is away the handler hears nothing, so that what it knows serves on. When it is back, a list
    says what changed meanwhile; an object that it lacks was deleted.

    Attributes:
        name: Plural name of the resource, with its namespace if it is only one.
        synced: Whether the handler has heard of every object once.
    """

    def __init__(
        self, api: KubeApi, *, path: str, handler: Handler, label_selector: str = "", watch_seconds: int = 30
    ) -> None:
        """Make an informer that does nothing until it is run.

        Args:
            api: The API to read.
            path: Path of the collection, such as /apis/heliograph.dev/v1alpha1/imagemodels.
            handler: Called in the event loop that runs the informer.
            label_selector: Which objects; all when empty.
            watch_seconds: Length of one watch. A connection that was lost without a word is noticed 10 s later.
        """
        _, _, namespaced = path.partition("/namespaces/")
        self.name = namespaced or path.rpartition("/")[2]
        self.synced = False
        self._api = api
        self._path = path
        self._handler = handler
        self._label_selector = label_selector
        self._watch_seconds = watch_seconds
        self._versions: dict[Key, str] = {}
        self._heard = time.monotonic()
        self._failures = 0

    def age(self) -> float:
        """Return the seconds since the API server last answered; more than a minute means that it is away."""
        return time.monotonic() - self._heard

    async def run(self) -> NoReturn:
        """Keep the handler in step until cancelled."""
        while True:
            try:
                await self._follow(await self._list())
            except KubeError as error:
                self._failures += 1
                # Once per outage at warning, or the log of a long one holds nothing else.
                expected = error.status == _GONE or self._failures > 1
                logger.log(logging.DEBUG if expected else logging.WARNING, "%s: %s", self.name, error)
            delay = min(_LONGEST_DELAY, _SHORTEST_DELAY * 2 ** min(self._failures, 10))
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret

    async def _list(self) -> str:
        """Take in the whole collection, and return the version that it is from."""
        objects, version = await self._api.list_objects(self._path, label_selector=self._label_selector)
        found = {_key(obj): obj for obj in objects}
        for key in self._versions.keys() - found.keys():
            self._forget(key)
        for key, obj in found.items():
            if self._versions.get(key) != obj["metadata"]["resourceVersion"]:
                self._take(key, obj)
        if not self.synced:
            logger.info("%s: %d listed", self.name, len(found))
        self.synced = True
        self._heard = time.monotonic()
        return version

    async def _follow(self, version: str) -> NoReturn:
        """Take in events since a version, watch after watch, until one fails."""
        while True:
            opened = time.monotonic()
            events = self._api.watch(
                self._path,
                resource_version=version,
                seconds=self._watch_seconds,
                silence=self._watch_seconds + _SILENCE_SLACK,
                label_selector=self._label_selector,
            )
            async with aclosing(events):
                async for event in events:
                    version = self._apply(event)
            if time.monotonic() - opened < _LONGEST_DELAY:
                raise KubeError(None, "the Kubernetes API ends every watch at once")
            self._hear()

    def _apply(self, event: Mapping[str, Any]) -> str:
        obj = event["object"]
        if event["type"] == "DELETED":
            self._forget(_key(obj))
        elif event["type"] != "BOOKMARK":
            self._take(_key(obj), obj)
        self._hear()
        version: str = obj["metadata"]["resourceVersion"]
        return version

    def _hear(self) -> None:
        if self._failures:
            logger.info("%s: the Kubernetes API answers again", self.name)
        self._failures = 0
        self._heard = time.monotonic()

    def _take(self, key: Key, obj: Mapping[str, Any]) -> None:
        self._versions[key] = obj["metadata"]["resourceVersion"]
        try:
            self._handler.changed(obj)
        except Exception:
            # One object that cannot be read must not hide the changes of all the others.
            logger.exception("%s: %s/%s cannot be read", self.name, *key)

    def _forget(self, key: Key) -> None:
        if self._versions.pop(key, None) is not None:
            self._handler.deleted(*key)


def _key(obj: Mapping[str, Any]) -> Key:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
