"""Making the tables, and adding to those of an older version."""

from sqlalchemy import Connection, func, insert, inspect, select, update
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from heliograph_gateway.tables import SCHEMA_VERSION, metadata, schema_version


def make_tables(connection: Connection) -> int:
    """Make what is missing of the tables, their columns and indexes, and return the database's version.

    Whoever calls it holds a lock, so that nobody else does the same at once. A database of a newer version stays as it
    is. Tables only ever gain tables, indexes and columns; a column that comes later may be empty, or has a
    `server_default`.
    """
    connection.execute(CreateTable(schema_version, if_not_exists=True))
    found = connection.scalar(select(func.max(schema_version.c.version)))
    if found is not None and found > SCHEMA_VERSION:
        return int(found)
    for table in metadata.sorted_tables:
        connection.execute(CreateTable(table, if_not_exists=True))
        present = {column["name"] for column in inspect(connection).get_columns(table.name)}
        for column in table.columns:
            if column.name not in present:
                added = CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {added}")
        for index in table.indexes:
            connection.execute(CreateIndex(index, if_not_exists=True))
    if found is None:
        connection.execute(insert(schema_version).values(version=SCHEMA_VERSION))
    elif found < SCHEMA_VERSION:
        connection.execute(update(schema_version).values(version=SCHEMA_VERSION))
    return SCHEMA_VERSION
