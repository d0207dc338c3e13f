"""Which installation this is: all gateways that share a database are one."""

import secrets

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from heliograph_gateway.database import Database
from heliograph_gateway.tables import installation


async def installation_id(database: Database) -> str:
    """Return the id that an open database has had since it was first asked for."""

    async def read_or_make(connection: AsyncConnection) -> str:
        found: str | None = await connection.scalar(select(installation.c.id))
        if found is None:
            found = secrets.token_hex(16)
            await connection.execute(insert(installation).values(id=found))
        return found

    return await database.run(read_or_make, lock="installation")
