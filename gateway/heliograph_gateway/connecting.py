"""How connections to replicas come about."""

import asyncio
import socket
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.client_proto import ResponseHandler

if TYPE_CHECKING:
    from aiohttp.tracing import Trace


_RECEIVED_AHEAD = 512 * 1024
"""Bytes of an answer that the kernel takes before this process has read them. By itself it begins with few on each new
connection, so that a replica with a picture to send waits for this process again and again."""


class _Protocol(ResponseHandler):
    """A connection whose end is its end: what was not sent is dropped, which a stuck replica would never take."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVED_AHEAD)

    def close(self) -> None:
        """Close the connection at once."""
        self.abort()


class AddressConnector(aiohttp.BaseConnector):
    """Connects to IP addresses over plain HTTP, each request on a connection of its own.

    A replica has one address, so there is nothing to look up, and none of several to try first. aiohttp's connector for
    TCP has uvloop look up even an address, in one of four threads that all look-ups of the process share: each request
    would wait for a thread, and for a name server that is slow to tell somebody else's address.
    """

    def __init__(self, *, limit: int = 0) -> None:
        """Have as many connections as `limit` at a time; 0 for no limit."""
        super().__init__(limit=limit, force_close=True)

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: "list[Trace]",  # noqa: ARG002 - nobody traces by aiohttp
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> ResponseHandler:
        try:
            async with asyncio.timeout(timeout.sock_connect):
                _, protocol = await self._loop.create_connection(
                    partial(_Protocol, self._loop), req.url.raw_host or "", req.port or 80
                )
        except TimeoutError:
            raise
        except OSError as error:
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error
        return protocol
