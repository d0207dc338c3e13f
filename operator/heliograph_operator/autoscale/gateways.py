"""Asking the gateways for their load."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp

from heliograph_api import load, naming
from heliograph_api.load import GatewayLoad
from heliograph_operator.inventory import Key
from heliograph_operator.kube import KubeApi, KubeError
from heliograph_operator.resources import ENDPOINT_SLICES, Object

logger = logging.getLogger(__name__)

_ANSWER_SECONDS = 2.0
_MOST_BYTES = 4 * 1024 * 1024
# Pydantic's errors are among the last.
_NO_ANSWER = (aiohttp.ClientError, OSError, ValueError)


class Address(NamedTuple):
    """Where one gateway tells its load."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Gateways:
    """The gateways behind a Service, whether they are ready or not: one that is about to end still has requests."""

    def __init__(self, session: aiohttp.ClientSession, *, kube: KubeApi, service: Key) -> None:
        """Ask the endpoints of `service`."""
        self._session = session
        self._kube = kube
        self._service = service
        self._silent: set[Address] = set()

    async def read(self) -> list[GatewayLoad | None]:
        """Return what each gateway says, None for one that does not say it; a single None when they cannot be found."""
        try:
            addresses = await self._addresses()
        except KubeError as error:
            logger.warning("The gateways cannot be found: %s", error.message)
            return [None]
        self._silent &= addresses
        return list(await asyncio.gather(*map(self._read, addresses)))

    async def _addresses(self) -> set[Address]:
        labels = {naming.SERVICE_NAME_LABEL: self._service.name}
        slices = await self._kube.list(ENDPOINT_SLICES, self._service.namespace, labels=labels)
        return {address for part in slices for address in load_addresses(part)}

    async def _read(self, address: Address) -> GatewayLoad | None:
        try:
            async with self._session.get(f"http://{address}{load.PATH}", allow_redirects=False) as answer:
                answer.raise_for_status()
                found = GatewayLoad.model_validate_json(await _content(answer))
        except _NO_ANSWER as error:
            if address not in self._silent:
                # What it answered may be anything, and is not repeated here.
                logger.warning("The gateway %s does not tell its load: %s", address, type(error).__name__)
            self._silent.add(address)
            return None
        if address in self._silent:
            logger.info("The gateway %s tells its load again", address)
            self._silent.discard(address)
        return found


@asynccontextmanager
async def open_gateways(*, kube: KubeApi, service: Key) -> AsyncIterator[Gateways]:
    """Open the connections to the gateways behind a Service inside the `async with` block."""
    timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
    # The environment's proxy is for the world outside.
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
        yield Gateways(session, kube=kube, service=service)


async def _content(answer: aiohttp.ClientResponse) -> bytes:
    """Return the body of an answer; raise `ValueError` if it is longer than the loads of many models are."""
    content = bytearray()
    async for part in answer.content.iter_any():
        content += part
        if len(content) > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES} bytes")
    return bytes(content)


def load_addresses(endpoint_slice: Object) -> list[Address]:
    """Return where the gateways of an EndpointSlice tell their load (k8s.io/api/discovery/v1)."""
    ports = [port["port"] for port in endpoint_slice.get("ports") or () if port.get("name") == load.PORT_NAME]
    if not ports or endpoint_slice.get("addressType") not in {"IPv4", "IPv6"}:
        return []
    return [Address(endpoint["addresses"][0], ports[0]) for endpoint in endpoint_slice.get("endpoints") or ()]
