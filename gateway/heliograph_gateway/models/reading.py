"""Reading what a replica tells of itself. A replica may answer anything, at any length and speed, or nothing."""

import asyncio
import logging
from typing import TypeVar

import aiohttp
from pydantic import BaseModel, ValidationError

from heliograph_gateway.connecting import AddressConnector
from heliograph_gateway.routing import Endpoint

logger = logging.getLogger(__name__)

_MOST_BYTES = 256 * 1024
_AT_ONCE = 64
_HTTP_OK = 200

Told = TypeVar("Told", bound=BaseModel)


class ReplicaReader:
    """Reads JSON off replicas, within bounds of time, length and number."""

    def __init__(self) -> None:
        """Open nothing before the first read."""
        self._session: aiohttp.ClientSession | None = None

    async def read(self, endpoint: Endpoint, path: str, kind: type[Told], *, seconds: float) -> Told | None:
        """Return what a replica answers, or None when it does not answer in time, or with something else.

        Args:
            endpoint: The replica.
            path: Path of what is read.
            kind: What the answer must be; its own bounds are the only thing that is trusted.
            seconds: Longest time for all of it, the wait for a free connection included.
        """
        try:
            async with asyncio.timeout(seconds):
                content = await self._content(f"{endpoint.url}{path}")
            return None if content is None else kind.model_validate_json(content)
        except (aiohttp.ClientError, TimeoutError, OSError, ValidationError) as error:
            # Neither what it sent nor the error's own words, which quote it.
            logger.debug("%s%s: %s", endpoint.url, path, type(error).__name__)
            return None

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session:
            await self._session.close()

    async def _content(self, url: str) -> bytes | None:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=AddressConnector(limit=_AT_ONCE),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"user-agent": "heliograph-gateway", "accept-encoding": "identity"},
                auto_decompress=False,
            )
        async with self._session.get(url, allow_redirects=False) as response:
            if response.status != _HTTP_OK:
                return None
            content = bytearray()
            async for part in response.content.iter_any():
                content += part
                if len(content) > _MOST_BYTES:
                    return None
            return bytes(content)
