"""How long a replica leads: never for longer than others take the Lease to be its own."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from cluster.fault_proxy import FaultProxy, refusing
from heliograph_operator.kube import KubeClient, connect
from heliograph_operator.lease import Lease
from heliograph_operator.main import Operator
from heliograph_operator.metrics import Metrics
from heliograph_operator.settings import OperatorSettings
from operator_faults import kubeconfig_by
from operator_rig import Served

SECONDS = 6
"""From a renewal until others may take the Lease."""
REFUSED = 3
"""Attempts at a renewal that are refused at once; the next one would have its whole time after the others."""


@asynccontextmanager
async def connected(kubeconfig: Path) -> AsyncIterator[KubeClient]:
    async with AsyncExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KUBECONFIG", str(kubeconfig))
            kube = await stack.enter_async_context(connect(request_timeout=30.0, metrics=Metrics()))
        yield kube
    # Until TLS connections are closed; aiohttp does not wait for that.
    await asyncio.sleep(0.2)


def test_a_leader_ends_before_others_take_over_though_an_attempt_hangs(unserved: Served, tmp_path: Path) -> None:
    """The API server refuses some attempts at once, and then answers nothing."""
    numbers = itertools.count()
    refuse = refusing(500, "etcdserver: request timed out")

    async def refuse_then_hang(request: web.Request) -> web.StreamResponse | None:
        if next(numbers) >= REFUSED:
            await asyncio.Event().wait()
        return await refuse(request)

    async def lead(proxy: FaultProxy) -> float:
        """Lead until the Lease is lost, and return for how many seconds that was after it was taken."""
        leading = asyncio.Event()
        async with connected(kubeconfig_by(proxy, unserved, tmp_path)) as kube:
            lease = Lease(kube=kube, namespace=unserved.namespace, name="led", seconds=SECONDS)
            holding = asyncio.create_task(lease.hold(leading.set))
            await leading.wait()
            since = asyncio.get_running_loop().time()
            with proxy.failing(refuse_then_hang):
                await holding
                return asyncio.get_running_loop().time() - since

    cluster = unserved.cluster
    certificate, key = cluster.serving_certificate
    with FaultProxy(upstream=cluster.url, ca=cluster.ca_certificate, certificate=certificate, key=key) as proxy:
        led = asyncio.run(asyncio.wait_for(lead(proxy), 60))
    assert next(numbers) > REFUSED, "an attempt hung"
    assert led < SECONDS


def test_nothing_works_on_once_the_lease_is_lost() -> None:
    """Whatever the watches take to end."""

    async def lose() -> bool:
        operator = Operator(OperatorSettings())
        lost = asyncio.Event()

        async def hold() -> None:
            await lost.wait()

        async def work() -> None:
            await asyncio.Event().wait()

        operator.spawn("lease", hold())
        worker = operator.spawn("worker", work())
        await asyncio.sleep(0)
        lost.set()
        await asyncio.wait([worker], timeout=30)
        return worker.cancelled()

    assert asyncio.run(lose())
