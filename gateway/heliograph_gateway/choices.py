"""What an owner of requests chose once for all later ones."""

from sqlalchemy import select

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
        row = self._database.upsert(owner_choices).values(owner=owner, name=name, value=value)
        await self._database.change(
            row.on_conflict_do_update(index_elements=["owner", "name"], set_={"value": row.excluded.value})
        )
