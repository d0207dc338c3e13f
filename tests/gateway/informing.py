"""Informers that run in a thread of their own, so that a test can look on."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cluster.control_plane import ControlPlane
from gateway.relay import Relay
from heliograph_gateway.informer import Informer
from heliograph_gateway.kube import KubeApi

ROOT = Path(__file__).resolve().parents[2]


class Recorder:
    """A handler that remembers.

    Attributes:
        objects: What is there, by name.
        calls: What it was told, as `changed NAME` and `deleted NAME`.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Mapping[str, Any]] = {}
        self.calls: list[str] = []

    def changed(self, obj: Mapping[str, Any]) -> None:
        name = obj["metadata"]["name"]
        self.calls.append(f"changed {name}")
        self.objects[name] = obj

    def deleted(self, namespace: str, name: str) -> None:
        self.calls.append(f"deleted {name}")
        assert self.objects.pop(name)["metadata"]["namespace"] == namespace


@contextlib.contextmanager
def running(make: Callable[[KubeApi], Sequence[Informer]]) -> Iterator[list[Informer]]:
    """Run informers against the API server of $KUBECONFIG until the end of the block."""
    informers: list[Informer] = []
    started, loop = threading.Event(), asyncio.new_event_loop()

    async def run() -> None:
        async with await KubeApi.connect() as api:
            informers.extend(make(api))
            started.set()
            await asyncio.gather(*(informer.run() for informer in informers))

    task = loop.create_task(run())

    def work() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        # The transports of TLS connections close in later turns of the loop.
        loop.run_until_complete(asyncio.sleep(0.1))
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert started.wait(30)
        yield informers
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(30)
    assert not thread.is_alive()


@contextlib.contextmanager
def relayed(cluster: ControlPlane, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """A relay to the API server, which $KUBECONFIG leads through."""
    url = httpx.URL(cluster.url)
    relay = Relay(url.host, url.port or 443)
    content = yaml.safe_load(cluster.kubeconfig().read_text())
    content["clusters"][0]["cluster"]["server"] = f"https://{url.host}:{relay.port}"
    path = folder / "relayed.kubeconfig"
    path.write_text(yaml.safe_dump(content))
    monkeypatch.setenv("KUBECONFIG", str(path))
    try:
        yield relay
    finally:
        relay.cut()


def apply_crd(cluster: ControlPlane) -> None:
    cluster.kubectl("apply", "--filename", ROOT / "crds")
    cluster.kubectl("wait", "--for=condition=Established", "crd/imagemodels.heliograph.dev")
