"""Gateways and runtimes that are replaced, killed or cut off from the API server while requests come."""

import signal
import time
from pathlib import Path

import httpx
import openai

from cluster.control_plane import ControlPlane
from cluster.definitions import define_imagemodels
from cluster.waiting import eventually
from lifecycle.balancer import Balancer
from lifecycle.load import load
from lifecycle.rig import FAREWELL_SECONDS, Member, Rig
from lifecycle.rig import rig as make_rig

REQUESTS = 400


def start(rig: Rig, balancer: Balancer, *, runtimes: int = 2, gateways: int = 2) -> tuple[list[Member], list[Member]]:
    """Start so many runtimes and gateways, and lead the balancer to the gateways once they draw."""
    first = [rig.start_runtime(f"runtime-{number}") for number in range(runtimes)]
    second = [rig.start_gateway(f"gateway-{number}") for number in range(gateways)]
    for runtime in first:
        runtime.wait_ready()
        rig.tell(runtime)
    for gateway in second:
        gateway.wait_ready()
        eventually(lambda port=gateway.port: draws(port), what="picture")  # type: ignore[misc]
    balancer.set_members(*(gateway.port for gateway in second))
    return first, second


def draws(port: int) -> bool:
    body = {"model": "tiny", "prompt": "a circle", "size": "64x64", "seed": 1}
    url = f"http://127.0.0.1:{port}/v1/images/generations"
    return httpx.post(url, json=body, timeout=30, trust_env=False).status_code == 200


def replace_gateway(rig: Rig, balancer: Balancer, old: Member, others: list[Member]) -> Member:
    new = rig.start_gateway(f"{old.name}-next")
    new.wait_ready()
    balancer.set_members(*(gateway.port for gateway in (*others, new)))
    time.sleep(FAREWELL_SECONDS)
    old.end()
    return new


def test_a_rolling_update_fails_no_request(rig: Rig, balancer: Balancer) -> None:
    runtimes, gateways = start(rig, balancer)
    with load(balancer.url) as running:
        for old in runtimes:
            new = rig.start_runtime(f"{old.name}-next")
            new.wait_ready()
            rig.tell(new)
            rig.retire(old)
        for place, old in enumerate(gateways):
            others = [gateway for gateway in gateways if gateway is not old]
            gateways[place] = replace_gateway(rig, balancer, old, others)
        eventually(lambda: running.done >= REQUESTS, what=f"{REQUESTS} requests", timeout=120)
    assert not running.failed
    assert len(running.served) >= REQUESTS
    executions = rig.executions()
    assert {executions[prompt] for prompt in running.served} == {1}


def test_a_runtime_that_is_killed_costs_its_own_requests_alone(rig: Rig, balancer: Balancer) -> None:
    runtimes, _ = start(rig, balancer, gateways=1)
    with load(balancer.url, retries=2) as running:
        eventually(lambda: running.done > 40, what="requests")
        runtimes[0].kill()
        done = running.done
        eventually(lambda: running.done > done + 40, what="requests after it")
    # The stock client tries again by itself what surely did not begin, and nothing else.
    assert len(running.failed) <= 8
    for error in running.failed.values():
        assert isinstance(error, openai.InternalServerError)
        assert (error.status_code, error.code) == (502, "upstream_failed")
        assert error.response.headers["x-should-retry"] == "false"
    assert max(rig.executions().values()) == 1
    assert not set(running.served) & set(running.failed)


def test_a_gateway_that_is_killed_loses_nothing_that_had_not_begun(rig: Rig, balancer: Balancer) -> None:
    _, (killed, other) = start(rig, balancer)
    with load(balancer.url, retries=2) as running:
        eventually(lambda: running.done > 40, what="requests")
        before = set(rig.executions())
        balancer.set_members(other.port)
        killed.kill()
        done = running.done
        eventually(lambda: running.done > done + 40, what="requests after it")
    # The client knows nothing of what became of a request whose connection broke, and asks again.
    assert not running.failed
    executions = rig.executions()
    assert set(running.served) <= set(executions)
    again = {prompt for prompt, count in executions.items() if count > 1 and prompt != "a circle"}
    assert len(again) <= 8
    assert again <= before | set(list(executions)[len(before) : len(before) + 16])


def test_the_last_known_routes_serve_while_the_api_server_hangs(
    binaries: dict[str, Path], tmp_path: Path, balancer: Balancer
) -> None:
    with ControlPlane(folder=tmp_path, binaries=binaries) as control_plane:
        define_imagemodels(control_plane)
        folder = tmp_path / "rig"
        folder.mkdir()
        with make_rig(control_plane, "default", folder) as rig:
            _, (gateway,) = start(rig, balancer, runtimes=1, gateways=1)
            server = control_plane.processes["kube-apiserver"]
            server.send_signal(signal.SIGSTOP)
            with load(balancer.url) as running:
                eventually(lambda: running.done >= 60, what="requests")
            assert gateway.is_ready()
            server.send_signal(signal.SIGKILL)
            server.wait()
            with load(balancer.url) as later:
                eventually(lambda: later.done >= 60, what="requests")
            assert gateway.is_ready()
    assert not running.failed | later.failed
