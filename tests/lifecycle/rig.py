"""Gateways and runtimes as processes, on a real API server; they come and go as Kubernetes lets pods."""

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from cluster.addresses import free_port, routable_address
from cluster.control_plane import ControlPlane
from cluster.leash import Leash
from heliograph_api.naming import child_name
from lifecycle.counting_worker import COUNTED
from runtime.runtimes import TINY, write_manifest

_TESTS = Path(__file__).resolve().parents[1]
_SERVICE = child_name("tiny")
FAREWELL_SECONDS = 1.0
"""What stands for `preStop`: between the end of readiness and SIGTERM."""
TOLD_SECONDS = 30.0


def counting_command(manifest: Path, host: str, port: int, counted: Path) -> tuple[list[str], dict[str, str]]:
    """Return command line and environment of a runtime that writes into a file what it draws."""
    command = [sys.executable, "-m", "lifecycle.counting_runtime", str(manifest), host, str(port)]
    return command, os.environ | {"PYTHONPATH": str(_TESTS), COUNTED: str(counted)}


def is_ready(port: int) -> bool:
    """Tell whether a gateway or a runtime takes requests."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).is_success
    except httpx.TransportError:
        return False


@dataclass
class Member:
    """A process that takes requests.

    Attributes:
        name: Its name.
        leash: The process.
        port: TCP port that it listens on.
    """

    name: str
    leash: Leash
    port: int

    def is_ready(self) -> bool:
        return is_ready(self.port)

    def wait_ready(self) -> None:
        self.leash.wait_until(self.is_ready)

    def end(self) -> None:
        """Send SIGTERM, and expect the end that it should lead to."""
        self.leash.send_signal(signal.SIGTERM)
        assert self.leash.wait(timeout=60) == 0, self.leash.tail()
        assert "Traceback" not in self.leash.log.read_text()

    def kill(self) -> None:
        """Send SIGKILL to it and whatever it started."""
        self.leash.stop()


@dataclass
class Rig:
    """A namespace with the model `tiny`, its runtimes and gateways.

    Attributes:
        control_plane: The API server and its companions.
        namespace: The namespace.
        folder: For logs and data.
        members: Everything that was started.
    """

    control_plane: ControlPlane
    namespace: str
    folder: Path
    members: list[Member] = field(default_factory=list)

    @property
    def counted(self) -> Path:
        return self.folder / "counted"

    def executions(self, what: str = "begun") -> Counter[str]:
        """Return how often each prompt was begun, or ended."""
        lines = self.counted.read_text().splitlines() if self.counted.exists() else []
        return Counter(line.partition(" ")[2] for line in lines if line.startswith(f"{what} "))

    def apply(self, *objects: dict[str, Any]) -> None:
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.control_plane.kubectl("apply", "--namespace", self.namespace, "--filename", "-", input=json.dumps(items))

    def start_runtime(self, name: str) -> Member:
        """Start a runtime; no request comes to it before `tell`."""
        folder = self.folder / name
        folder.mkdir()
        port = free_port()
        command, environment = counting_command(write_manifest(folder, TINY), "0.0.0.0", port, self.counted)
        return self._started(Member(name, Leash(command, log=folder / "log", env=environment), port))

    def tell(self, runtime: Member, **conditions: bool) -> None:
        """Tell of a runtime in an EndpointSlice."""
        labels = {"kubernetes.io/service-name": _SERVICE, "app.kubernetes.io/managed-by": "heliograph"}
        self.apply(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": f"tiny-{runtime.name}", "labels": labels},
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": runtime.port}],
                "endpoints": [{"addresses": [routable_address()], "conditions": conditions or {"ready": True}}],
            }
        )

    def retire(self, runtime: Member) -> None:
        """Let a runtime go, as Kubernetes does with a pod that is deleted."""
        self.tell(runtime, ready=False, serving=True, terminating=True)
        time.sleep(FAREWELL_SECONDS)
        runtime.end()
        self.control_plane.kubectl("delete", "--namespace", self.namespace, f"endpointslice/tiny-{runtime.name}")

    def start_gateway(self, name: str, **settings: object) -> Member:
        """Start a gateway."""
        folder = self.folder / name
        folder.mkdir()
        port = free_port()
        given = {
            "port": port,
            "namespaces": self.namespace,
            "data_dir": folder / "data",
            "response_format": "b64_json",
            **settings,
        }
        environment = {f"HELIOGRAPH_GATEWAY_{key.upper()}": str(value) for key, value in given.items()}
        environment["KUBECONFIG"] = str(self.control_plane.kubeconfig())
        leash = Leash([sys.executable, "-m", "heliograph", "gateway"], log=folder / "log", env=os.environ | environment)
        return self._started(Member(name, leash, port))

    def _started(self, member: Member) -> Member:
        self.members.append(member)
        return member


@contextmanager
def rig(control_plane: ControlPlane, namespace: str, folder: Path) -> Iterator[Rig]:
    """Make a rig with the model, and end whatever is started in it."""
    made = Rig(control_plane, namespace, folder)
    made.apply(
        {
            "apiVersion": "heliograph.dev/v1alpha1",
            "kind": "ImageModel",
            "metadata": {"name": "tiny"},
            "spec": {"parameters": {"model": "weights"}},
        }
    )
    try:
        yield made
    finally:
        for member in made.members:
            member.leash.stop()
