"""Asking gateways for their load over HTTP: what they may be like, and what may stand in their place."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web

from heliograph_api.load import GatewayLoad, ModelLoad
from heliograph_operator.autoscale.gateways import load_addresses, open_gateways
from heliograph_operator.inventory import Key
from heliograph_operator.kube import KubeClient, UnavailableError
from heliograph_operator.resources import ENDPOINT_SLICES, Object, Resource

SERVICE = Key("art", "gateways")
LOAD = GatewayLoad(uptime_seconds=9, models={"art/tiny": ModelLoad(outstanding=1, queued=2, idle_seconds=0)})
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def endpoint_slice(*endpoints: Mapping[str, Any], port: int = 8082, **fields: Any) -> Object:
    return {"addressType": "IPv4", "ports": [{"name": "load", "port": port}], "endpoints": list(endpoints)} | fields


class Slices(KubeClient):
    """An API server's EndpointSlices."""

    def __init__(self, *slices: Object) -> None:
        self.slices: list[Object] | None = list(slices)

    async def list(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        labels: Mapping[str, str] = {},
        fields: Mapping[str, str] = {},
    ) -> list[Object]:
        assert (resource, namespace) == (ENDPOINT_SLICES, SERVICE.namespace)
        assert (labels, fields) == ({"kubernetes.io/service-name": SERVICE.name}, {})
        if self.slices is None:
            raise UnavailableError(0, "The API server does not answer")
        return self.slices


async def tell(_: web.Request) -> web.Response:
    return web.Response(text=LOAD.model_dump_json())


async def fail(_: web.Request) -> web.Response:
    return web.Response(status=500, text=LOAD.model_dump_json())


async def redirect(_: web.Request) -> web.Response:
    raise web.HTTPFound("/elsewhere")


async def talk_at_length(_: web.Request) -> web.Response:
    return web.Response(text=LOAD.model_dump_json() + " " * 5 * 1024 * 1024)


async def say_nothing(_: web.Request) -> web.Response:
    await asyncio.sleep(60)
    return web.Response()


def say(text: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text)

    return answer


async def serve(stack: AsyncExitStack, answer: Answer) -> int:
    app = web.Application()
    app.router.add_get("/load", answer)
    app.router.add_get("/elsewhere", tell)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port: int = runner.addresses[0][1]
    return port


async def read(*answers: Answer) -> list[GatewayLoad | None]:
    async with AsyncExitStack() as stack:
        ports = [await serve(stack, answer) for answer in answers]
        kube = Slices(*(endpoint_slice({"addresses": ["127.0.0.1"]}, port=port) for port in ports))
        gateways = await stack.enter_async_context(open_gateways(kube=kube, service=SERVICE))
        return await gateways.read()


def test_every_gateway_is_asked() -> None:
    assert asyncio.run(read(tell, tell)) == [LOAD, LOAD]
    assert asyncio.run(read()) == []


NO_ANSWERS: dict[str, Answer] = {
    "failure": fail,
    "redirect": redirect,
    "too long": talk_at_length,
    "silence": say_nothing,
    "no JSON": say("no JSON"),
    "negative uptime": say('{"uptime_seconds": -1, "models": {}}'),
    "no number": say('{"uptime_seconds": NaN, "models": {}}'),
    "negative load": say(
        '{"uptime_seconds": 1, "models": {"a/b": {"outstanding": -1, "queued": 0, "idle_seconds": 0}}}'
    ),
}


@pytest.mark.parametrize("answer", NO_ANSWERS)
def test_an_answer_that_is_none(answer: str) -> None:
    found = asyncio.run(read(tell, NO_ANSWERS[answer]))
    assert sorted(map(str, found)) == sorted(map(str, [LOAD, None]))


def test_one_that_is_away_is_logged_once_and_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="heliograph_operator")

    async def run() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            kube = Slices(endpoint_slice({"addresses": ["127.0.0.1"]}, port=port))
            async with AsyncExitStack() as stack, open_gateways(kube=kube, service=SERVICE) as gateways:
                assert await gateways.read() == await gateways.read() == [None]
                back = await serve(stack, tell)
                kube.slices = [endpoint_slice({"addresses": ["127.0.0.1"]}, port=back)]
                assert await gateways.read() == [LOAD]
                kube.slices = None
                assert await gateways.read() == [None]

    asyncio.run(run())
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "does not tell its load: ClientConnectorError" in told[0]
    assert told[1] == "The gateways cannot be found: The API server does not answer"


@pytest.mark.parametrize(
    ("slice_", "expected"),
    [
        (endpoint_slice({"addresses": ["10.0.0.1"]}), ["10.0.0.1:8082"]),
        (endpoint_slice({"addresses": ["10.0.0.1"], "conditions": {"ready": False}}), ["10.0.0.1:8082"]),
        (endpoint_slice({"addresses": ["10.0.0.1"], "conditions": {"terminating": True}}), ["10.0.0.1:8082"]),
        (endpoint_slice({"addresses": ["fd00::1"]}, addressType="IPv6"), ["[fd00::1]:8082"]),
        (endpoint_slice({"addresses": ["metadata.example"]}, addressType="FQDN"), []),
        (endpoint_slice({"addresses": ["10.0.0.1"]}, ports=[{"name": "http", "port": 80}]), []),
        (endpoint_slice(endpoints=None, ports=None), []),
        (endpoint_slice(endpoints=None), []),
    ],
)
def test_where_gateways_tell_their_load(slice_: Object, expected: list[str]) -> None:
    assert [str(address) for address in load_addresses(slice_)] == expected
