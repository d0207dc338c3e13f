"""Who of those that wait for a model goes next: owners in turn, and of one owner's requests the one that came first.

A small owner's wait so depends on the number of owners, and not on how many requests another one sends. It is round
robin by request (J. Nagle, RFC 970); where a line is full, the longest part of it gives way (longest queue drop).
"""

from bisect import insort
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Generic, Protocol, TypeVar


class Member(Protocol):
    """What waits in a line.

    Attributes:
        owner: Whose request it is.
        number: When it came, as a number that grows.
        size: Bytes that are kept for it.
    """

    @property
    def owner(self) -> str: ...  # noqa: D102 - described above

    @property
    def number(self) -> int: ...  # noqa: D102

    @property
    def size(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class Share:
    """What one owner has in a line: a number of requests, and their bytes."""

    owner: str
    requests: int
    size: int


M = TypeVar("M", bound=Member)


class Line(Generic[M]):
    """The requests that wait for one model."""

    def __init__(self) -> None:
        """Make an empty line."""
        self._owners: OrderedDict[str, list[M]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._owners.values()))

    def __contains__(self, member: M) -> bool:
        return member in self._owners.get(member.owner, ())

    def add(self, member: M, *, again: bool = False) -> None:
        """Put a request behind those of its owner that came before it.

        Args:
            member: The request.
            again: Whether it had its turn in vain, which it keeps then.
        """
        insort(self._owners.setdefault(member.owner, []), member, key=lambda member: member.number)
        if again:
            self._owners.move_to_end(member.owner, last=False)

    def remove(self, member: M) -> None:
        """Take out a request that waits no more; its owner's turn stays where it was."""
        requests = self._owners[member.owner]
        requests.remove(member)
        if not requests:
            del self._owners[member.owner]

    def take(self, member: M) -> None:
        """Take out a request that goes on; its owner's next one waits until the other owners had their turn."""
        self.remove(member)
        if member.owner in self._owners:
            self._owners.move_to_end(member.owner)

    def in_turn(self) -> Iterator[M]:
        """Yield all requests in the order in which they would go on."""
        for each in zip_longest(*(list(requests) for requests in self._owners.values())):
            yield from (member for member in each if member is not None)

    def position(self, member: M) -> int:
        """Return which one in turn a request is, from 1."""
        own = self._owners[member.owner]
        round_ = own.index(member)
        ahead, is_before = 0, True
        for owner, requests in self._owners.items():
            if owner == member.owner:
                is_before = False
            else:
                ahead += min(len(requests), round_ + is_before)
        return ahead + round_ + 1

    def shares(self) -> list[Share]:
        """Return what each owner has in it."""
        return [
            Share(owner, len(requests), sum(member.size for member in requests))
            for owner, requests in self._owners.items()
        ]

    def last_of(self, owner: str) -> M:
        """Return the request of an owner that came last."""
        return self._owners[owner][-1]
