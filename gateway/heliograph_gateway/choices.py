"""What an owner of requests chose once for all later ones."""

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from heliograph_gateway.database import Database
from heliograph_gateway.tables import owner_choices


class OwnerChoices:
    """Named texts for each owner."""

    def __init__(self, database: Database) -> None:
        """Keep the choices in `database`."""
        self._database = database

    async def get(self, owner: str, name: str) -> str | None:
        """Return what an owner chose, or None."""
        columns = owner_choices.c
        rows = await self._database.rows(select(columns.value).where(columns.owner == owner, columns.name == name))
        return str(rows[0].value) if rows else None

    async def set(self, owner: str, name: str, value: str) -> None:
        """Remember what an owner chose."""
        columns = owner_choices.c

        async def replace(connection: AsyncConnection) -> None:
            await connection.execute(delete(owner_choices).where(columns.owner == owner, columns.name == name))
            await connection.execute(insert(owner_choices).values(owner=owner, name=name, value=value))

        await self._database.run(replace)
