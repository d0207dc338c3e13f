"""The database's schema.

`SCHEMA_VERSION` goes up with every change to a table, so that a process never works on tables of another shape.
"""

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text

SCHEMA_VERSION = 1

metadata = MetaData()

# SQLite numbers rows by itself only where the type is INTEGER to the letter.
_NUMBER = BigInteger().with_variant(Integer(), "sqlite")

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True, autoincrement=False))

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
    # Last, since SQLite reads a row from the front and this can be megabytes.
    Column("request", LargeBinary),
    Index("video_jobs_owner_number", "owner", "number"),
    Index("video_jobs_status", "status"),
    Index("video_jobs_expires_at", "expires_at"),
    sqlite_autoincrement=True,
)
"""Video jobs, in the order in which they were created."""

owner_choices = Table(
    "owner_choices",
    metadata,
    Column("owner", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
"""What an owner chose once for all later requests."""
