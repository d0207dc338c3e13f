"""The database's schema.

`SCHEMA_VERSION` goes up with every change that is released, so that a process never works on tables that are newer than
it. Changes only add: tables, indexes, and columns that may be empty or have a `server_default`; `make_tables` brings
them to the database of an older version.
"""

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text

SCHEMA_VERSION = 3

metadata = MetaData()

# SQLite numbers rows by itself only where the type is INTEGER to the letter.
_NUMBER = BigInteger().with_variant(Integer(), "sqlite")

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True, autoincrement=False))

installation = Table("installation", metadata, Column("id", String(64), primary_key=True))
"""One row: whose the files in a bucket are."""

stored_files = Table(
    "stored_files",
    metadata,
    Column("number", _NUMBER, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("owner", String(64), nullable=False),
    Column("media_type", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("stored_files_expires_at", "expires_at"),
    sqlite_autoincrement=True,
)
"""Files of the file store; a file has a row before it has bytes."""

video_jobs = Table(
    "video_jobs",
    metadata,
    Column("number", _NUMBER, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("owner", String(64), nullable=False),
    Column("model", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("progress", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("lease_until", Float, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("completed_at", BigInteger),
    Column("expires_at", BigInteger, nullable=False),
    Column("prompt", Text),
    Column("seconds", String(16)),
    Column("size", String(32)),
    Column("error_code", String(64)),
    Column("error_message", Text),
    Column("file_id", String(64)),
    Column("waiting_since", Float),
    Column("started_at", Float),
    Column("lapses", Integer, nullable=False, server_default="0"),
    Column("reserved_day", Integer),
    # Last, since SQLite reads a row from the front and this can be megabytes.
    Column("request", LargeBinary),
    Index("video_jobs_owner_number", "owner", "number"),
    Index("video_jobs_status", "status"),
    Index("video_jobs_expires_at", "expires_at"),
    sqlite_autoincrement=True,
)
"""Video jobs, in the order in which they were created."""

image_quotas = Table(
    "image_quotas",
    metadata,
    Column("owner", String(64), primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("used", BigInteger, nullable=False),
)
"""How many pictures the keys of a name have reserved or drawn on a day, which is `date.toordinal` in UTC."""

usage_hours = Table(
    "usage_hours",
    metadata,
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("namespace", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("images", BigInteger, nullable=False),
    Column("pixels", BigInteger, nullable=False),
    Column("steps", BigInteger, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("gpu_seconds", Float, nullable=False),
)
"""What was used in an hour, which is named by its first second since 1970 in UTC; for ever the model's of that name."""

owner_choices = Table(
    "owner_choices",
    metadata,
    Column("owner", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
"""What an owner chose once for all later requests."""
