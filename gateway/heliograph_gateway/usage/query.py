"""What a caller asks of the record: the query of GET /v1/usage, checked."""

import re
import time
from dataclasses import dataclass
from typing import cast

from starlette.datastructures import QueryParams

from heliograph_api.errors import invalid_request
from heliograph_gateway.usage.sums import DAY, HOUR, Group

_WIDTHS = {"1h": HOUR, "1d": DAY}
_BUCKETS = {"1h": (24, 168), "1d": (7, 31)}
"""Buckets of a page unless a number is given, and at most, as in OpenAI's usage API."""
_PARAMETERS = ("start_time", "end_time", "bucket_width", "group_by", "models", "keys", "limit", "page")
_LISTS = frozenset({"group_by", "models", "keys"})
_MOST_LISTED = 100
_LONGEST_NAME = 512
_LATEST = 253_402_300_800
"""The end of the year 9999, in seconds since 1970."""
_WHOLE = re.compile(r"[0-9]{1,12}")
_PAGE = re.compile(r"page_([0-9]{1,12})")


@dataclass(frozen=True)
class UsageQuery:
    """A question to the record. All times are whole hours, in seconds since 1970.

    Attributes:
        start: Begin of the page's first bucket.
        end: End of what is asked for.
        width: Seconds of a bucket; buckets are whole hours or days of UTC, but for a first and a last one that are cut.
        limit: Most buckets of a page.
        group_by: What the results of a bucket are told apart by.
        models: Names of models; all of them when empty.
        keys: Names of API keys; all of them when None.
    """

    start: int
    end: int
    width: int
    limit: int
    group_by: frozenset[Group] = frozenset()
    models: tuple[str, ...] = ()
    keys: tuple[str, ...] | None = None

    def buckets(self) -> list[tuple[int, int]]:
        """Return begin and end of the page's buckets."""
        found: list[tuple[int, int]] = []
        start = self.start
        while start < self.end and len(found) < self.limit:
            end = min(start // self.width * self.width + self.width, self.end)
            found.append((start, end))
            start = end
        return found


def read_query(given: QueryParams, *, now: float | None = None) -> UsageQuery:
    """Return a query; raise `APIError` (400), naming the parameter at fault.

    Args:
        given: The query's parameters; lists as OpenAI's clients send them, `name=a&name=b` or `name[]=a&name[]=b`, or
            `name=a,b`.
        now: The time in seconds since 1970, where a query without `end_time` ends.
    """
    for name in given:
        if name.removesuffix("[]") not in (_PARAMETERS if not name.endswith("[]") else _LISTS):
            known = ", ".join(_PARAMETERS)
            raise invalid_request(
                name[:64], f"there is no such parameter; there are {known}.", code="unknown_parameter"
            )
    width = _one(given, "bucket_width") or "1d"
    if width not in _WIDTHS:
        raise invalid_request("bucket_width", f"{width[:32]!r} is not kept; send 1h or 1d.")
    start, end = _times(given, time.time() if now is None else now)
    usual, most = _BUCKETS[width]
    limit = _number(given, "limit", least=1, most=most)
    return UsageQuery(
        start=_page_start(given, start, end, _WIDTHS[width]),
        end=end,
        width=_WIDTHS[width],
        limit=usual if limit is None else limit,
        group_by=_groups(given),
        models=tuple(_many(given, "models")),
        keys=tuple(_many(given, "keys")) if "keys" in given or "keys[]" in given else None,
    )


def page_name(start: int) -> str:
    """Return the `next_page` that goes on with the bucket at `start`."""
    return f"page_{start}"


def _times(given: QueryParams, now: float) -> tuple[int, int]:
    start = _number(given, "start_time", least=0, most=_LATEST)
    if start is None:
        raise invalid_request("start_time", "is missing; send Unix seconds.", code="missing_required_parameter")
    asked_end = _number(given, "end_time", least=0, most=_LATEST)
    end = int(now) + 1 if asked_end is None else asked_end
    if end <= start:
        least = "the present time" if asked_end is None else "end_time"
        at_fault = "start_time" if asked_end is None else "end_time"
        raise invalid_request(at_fault, f"start_time must be before {least}.")
    # The record is by the hour: whole hours are answered, and the buckets say so.
    return start // HOUR * HOUR, -(-end // HOUR) * HOUR


def _page_start(given: QueryParams, start: int, end: int, width: int) -> int:
    page = _one(given, "page")
    if page is None:
        return start
    found = _PAGE.fullmatch(page)
    at = int(found[1]) if found else -1
    if not start < at < end or at % width:
        raise invalid_request("page", "is none of this query's; send next_page of its last answer, or leave it out.")
    return at


def _groups(given: QueryParams) -> frozenset[Group]:
    groups = _many(given, "group_by")
    for group in groups:
        if group not in ("model", "key"):
            raise invalid_request("group_by", f"{group[:32]!r} is not kept; send model, key or both.")
    return frozenset(cast("list[Group]", groups))


def _one(given: QueryParams, name: str) -> str | None:
    values = given.getlist(name)
    if len(values) > 1:
        raise invalid_request(name, "is given more than once; send one.")
    return values[0] if values else None


def _number(given: QueryParams, name: str, *, least: int, most: int) -> int | None:
    value = _one(given, name)
    if value is None:
        return None
    if not _WHOLE.fullmatch(value) or not least <= int(value) <= most:
        raise invalid_request(name, f"must be a whole number from {least} to {most}.")
    return int(value)


def _many(given: QueryParams, name: str) -> list[str]:
    values = [part for value in (*given.getlist(name), *given.getlist(f"{name}[]")) for part in value.split(",")]
    if len(values) > _MOST_LISTED:
        raise invalid_request(name, f"has {len(values)} entries; send at most {_MOST_LISTED}.")
    if any(not value or len(value) > _LONGEST_NAME or "\x00" in value for value in values):
        raise invalid_request(name, f"must hold names of 1 to {_LONGEST_NAME} characters.")
    return values
