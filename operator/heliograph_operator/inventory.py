"""What the operator remembers of the ImageModels that it has seen; none of it decides what is written.

A reconciliation reads everything anew. This memory only says which key an event concerns, whom else it concerns, and
whether events still come in at all. A watch that was interrupted reports no deletions, so that what is gone is dropped
when a full listing lacks it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from heliograph_api import naming
from heliograph_operator.autoscale.subject import Subject, subject_of
from heliograph_operator.resources import Object


class Key(NamedTuple):
    """An ImageModel's namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass
class _Known:
    names: frozenset[str]
    is_alias: bool
    generation: int | None = None
    version_written: str | None = None
    version_seen: str | None = None
    version_missed: str | None = None
    missed_since: float = 0.0
    last_event: int = 0
    conditions: dict[str, tuple[str, str]] = field(default_factory=dict)
    subject: Subject | None = None


class Inventory:
    """The ImageModels that are known.

    Attributes:
        events: How many events have brought one.
    """

    def __init__(self) -> None:
        self._known: dict[Key, _Known] = {}
        self._by_child: dict[tuple[str, str], Key] = {}
        self._sharers: dict[str, frozenset[str]] = {}
        self.events = 0

    def see(self, obj: Object) -> bool:
        """Take note of an ImageModel that an event brought; return whether the names it answers to are other ones."""
        known, changed = self._note(obj)
        self.events += 1
        known.last_event = self.events
        known.version_seen = obj["metadata"]["resourceVersion"]
        # Whatever was listed before: the watch is alive, and what it brings next is newer.
        known.version_missed = None
        return changed

    def wrote(self, key: Key, obj: Object) -> None:
        """Take note of an ImageModel as it came back from a write of our own."""
        if key in self._known:
            self._known[key].version_written = obj["metadata"]["resourceVersion"]

    def is_own_write(self, obj: Object) -> bool:
        """Return whether an ImageModel is as our last write left it, so that there is nothing new in it."""
        known = self._known.get(key_of(obj))
        return known is not None and known.version_written == obj["metadata"]["resourceVersion"]

    def has_new_spec(self, obj: Object) -> bool:
        """Return whether the spec of an ImageModel is another one than was noted last."""
        known = self._known.get(key_of(obj))
        return known is None or known.generation != obj["metadata"].get("generation")

    def take_stock(self, objects: Iterable[Object], *, namespace: str | None, now: float, since: int) -> list[Key]:
        """Take note of all ImageModels of a namespace (None: of all), and return the keys that are gone.

        Args:
            objects: What a listing returned.
            namespace: The namespace that was listed.
            now: Seconds on a monotonic clock.
            since: `events` when the listing began: what an event brought meanwhile is newer.
        """
        listed = set()
        for obj in objects:
            listed.add(key_of(obj))
            present = self._known.get(key_of(obj))
            if present is not None and present.last_event > since:
                continue
            known, _ = self._note(obj)
            version = obj["metadata"]["resourceVersion"]
            if _has_seen(known, version):
                known.version_missed = None
            elif version != known.version_missed:
                known.version_missed, known.missed_since = version, now
        gone = [
            key
            for key, known in self._known.items()
            if namespace in (None, key.namespace) and key not in listed and known.last_event <= since
        ]
        for key in gone:
            self.forget(key)
        return gone

    def forget(self, key: Key) -> None:
        """Drop an ImageModel, if it is known."""
        self._by_child.pop((key.namespace, naming.child_name(key.name)), None)
        self._known.pop(key, None)

    def see_sharers(self, namespace: str, names: Collection[str]) -> list[Key]:
        """Take note of who has a share of a namespace's shared claim, and return those who have more to do with it.

        These are whoever had none before, or has none any more, and whoever is gone.
        """
        before, now = self._sharers.pop(namespace, frozenset()), frozenset(names)
        if now:
            self._sharers[namespace] = now
        gone = {name for name in now if Key(namespace, name) not in self._known}
        return [Key(namespace, name) for name in sorted(gone | (before ^ now))]

    def shares(self, key: Key) -> bool:
        """Return whether an ImageModel, which may be gone, has a share of its namespace's shared claim."""
        return key.name in self._sharers.get(key.namespace, ())

    def set_conditions(self, key: Key, conditions: Mapping[str, tuple[str, str]]) -> None:
        """Remember status and reason of an ImageModel's conditions, by type."""
        if key in self._known:
            self._known[key].conditions = dict(conditions)

    def conditions(self) -> Iterator[tuple[Key, Mapping[str, tuple[str, str]]]]:
        """Yield each ImageModel with status and reason of its conditions by type, as far as it was reconciled."""
        for key, known in self._known.items():
            yield key, known.conditions

    def subjects(self) -> dict[Key, Subject]:
        """Return the ImageModels that are scaled by themselves, as they were last seen."""
        return {key: known.subject for key, known in self._known.items() if known.subject}

    def aliases(self) -> list[Key]:
        """Return the ImageModels that are aliases: their state hangs on that of others."""
        return [key for key, known in self._known.items() if known.is_alias]

    def owner_of_child(self, namespace: str, child_name: str) -> Key | None:
        """Return the ImageModel whose children are called `child_name`."""
        return self._by_child.get((namespace, child_name))

    def missed_for(self, now: float) -> float:
        """Return for how many seconds a change has been listed that no event has brought; 0 when there is none."""
        missed = [known.missed_since for known in self._known.values() if known.version_missed is not None]
        return now - min(missed) if missed else 0.0

    def _note(self, obj: Object) -> tuple[_Known, bool]:
        key, names = key_of(obj), frozenset(target_names(obj))
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known(names=frozenset(), is_alias=False)
            self._by_child[key.namespace, naming.child_name(key.name)] = key
        changed = known.names != names
        known.names, known.is_alias = names, bool(_spec(obj).get("alias"))
        known.generation = obj["metadata"].get("generation")
        known.subject = subject_of(obj)
        return known, changed


def _has_seen(known: _Known, version: str) -> bool:
    """Return whether an event has brought a version or, while it was being listed, a newer one (KEP-5504)."""
    seen = known.version_seen
    newer = seen is not None and seen.isdecimal() and version.isdecimal() and int(seen) > int(version)
    return newer or seen == version


def key_of(obj: Object) -> Key:
    """Return the key of an ImageModel."""
    return Key(obj["metadata"]["namespace"], obj["metadata"]["name"])


def target_names(obj: Object) -> list[str]:
    """Return the names by which an alias may point to an ImageModel, whether its spec is valid or not.

    As the gateway has it, an alias points neither to another alias nor to one of `spec.serving.aliases`.
    """
    spec, metadata = _spec(obj), obj["metadata"]
    if spec.get("alias"):
        return []
    names = (spec.get("name"), metadata["name"], f"{metadata['namespace']}/{metadata['name']}")
    return [name for name in names if isinstance(name, str) and name]


def _spec(obj: Object) -> Object:
    spec: Object = obj.get("spec") or {}
    return spec
