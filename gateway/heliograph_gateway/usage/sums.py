"""Reading the record: what was used, by bucket of time, model and API key."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Integer, Select, and_, func, literal_column, or_, select

from heliograph_api.usage import Usage
from heliograph_gateway.database import Database
from heliograph_gateway.tables import usage_hours

HOUR = 3600
DAY = 24 * HOUR

Group = Literal["model", "key"]
"""What sums may be told apart by."""


@dataclass(frozen=True)
class Total:
    """What was used in a bucket.

    Attributes:
        bucket: Which bucket: its begin divided by its width, rounded down.
        requests: Requests that were answered with pictures or clips.
        used: What they used.
        model: Namespace and name of the model; None where models are not told apart.
        key: Name of the API key; None where keys are not told apart.
    """

    bucket: int
    requests: int
    used: Usage
    model: tuple[str, str] | None = None
    key: str | None = None


async def read_totals(
    database: Database,
    *,
    start: int,
    end: int,
    width: int,
    group_by: Collection[Group] = (),
    models: Collection[tuple[str | None, str]] = (),
    keys: Collection[str] | None = None,
) -> list[Total]:
    """Return what was used, in order of time, model and key.

    Args:
        database: The database.
        start: Begin, a whole hour in seconds since 1970.
        end: End, which does not count.
        width: Seconds of a bucket.
        group_by: What is told apart.
        models: Namespaces, None for any, and names; all models when empty.
        keys: Names of the API keys; all of them when None.
    """
    statement = _statement(start=start, end=end, width=width, group_by=group_by)
    columns = usage_hours.c
    if models:
        statement = statement.where(or_(*(_is_model(namespace, name) for namespace, name in models)))
    if keys is not None:
        statement = statement.where(columns.key.in_(keys))
    return [
        Total(
            bucket=int(row.bucket),
            # PostgreSQL's sums of whole numbers are decimal ones.
            requests=int(row.requests),
            used=Usage(
                images=int(row.images),
                pixels=int(row.pixels),
                steps=int(row.steps),
                seconds=float(row.seconds),
                gpu_seconds=float(row.gpu_seconds),
            ),
            model=(row.namespace, row.model) if "model" in group_by else None,
            key=row.key if "key" in group_by else None,
        )
        for row in await database.rows(statement)
    ]


def _statement(*, start: int, end: int, width: int, group_by: Collection[Group]) -> Select[*tuple[Any, ...]]:
    columns = usage_hours.c
    # Written out, since PostgreSQL takes two parameters for two different expressions.
    bucket: ColumnElement[int] = columns.hour // literal_column(str(width), Integer)
    told: list[ColumnElement[str]] = []
    if "model" in group_by:
        told += [columns.namespace, columns.model]
    if "key" in group_by:
        told.append(columns.key)
    summed = ("requests", "images", "pixels", "steps", "seconds", "gpu_seconds")
    return (
        select(bucket.label("bucket"), *told, *(func.sum(columns[name]).label(name) for name in summed))
        .where(columns.hour >= start, columns.hour < end)
        .group_by(bucket, *told)
        .order_by(bucket, *told)
    )


def _is_model(namespace: str | None, name: str) -> ColumnElement[bool]:
    columns = usage_hours.c
    named = columns.model == name
    return named if namespace is None else and_(named, columns.namespace == namespace)
