"""The programs of the cluster in the order in which they start, with their command lines."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster import programs
from devcluster import credentials
from devcluster.layout import (
    API_PORT,
    CONTROLLER_MANAGER_PORT,
    ETCD_PORT,
    KUBELET_HEALTH_PORT,
    KUBELET_PORT,
    NODE_ADDRESS,
    NODE_NAME,
    PROXY_HEALTH_PORT,
    PROXY_METRICS_PORT,
    SCHEDULER_PORT,
    Layout,
)

PORTS = {
    API_PORT: NODE_ADDRESS,
    KUBELET_PORT: NODE_ADDRESS,
    **dict.fromkeys(
        (
            ETCD_PORT,
            KUBELET_HEALTH_PORT,
            PROXY_HEALTH_PORT,
            PROXY_METRICS_PORT,
            CONTROLLER_MANAGER_PORT,
            SCHEDULER_PORT,
        ),
        programs.HOST,
    ),
}
"""Ports that the programs listen at, and the address of each."""


@dataclass(frozen=True)
class Command:
    """How one program is run.

    Attributes:
        name: The program's name.
        arguments: The program and its arguments.
        reads: Files whose change has it started again.
        health: URL that answers with success once it is ready; empty for containerd and etcd, which have others wait.
    """

    name: str
    arguments: Sequence[str | Path]
    reads: Sequence[Path] = ()
    health: str = ""

    @property
    def fingerprint(self) -> str:
        """What is another one when the program would run otherwise."""
        digest = hashlib.sha256("\0".join(map(str, self.arguments)).encode())
        for file in self.reads:
            digest.update(b"\0" + file.read_bytes())
        return digest.hexdigest()[:16]


def containerd_command(layout: Layout) -> Command:
    """Return how containerd is run."""
    config = layout.config / "containerd.toml"
    return Command("containerd", ["containerd", "--config", config], reads=[config])


def control_plane_commands(layout: Layout, binaries: Mapping[str, Path]) -> list[Command]:
    """Return how etcd, the API server, the controllers and the scheduler are run."""
    files = credentials.files(layout)
    kubelet_certificate, kubelet_key = layout.pair("kubelet-client")
    apiserver = (
        *programs.apiserver_flags(files=files, port=API_PORT, etcd_port=ETCD_PORT, address=NODE_ADDRESS),
        "--enable-admission-plugins=NodeRestriction",
        f"--kubelet-client-certificate={kubelet_certificate}",
        f"--kubelet-client-key={kubelet_key}",
        f"--kubelet-certificate-authority={files.ca}",
        "--kubelet-preferred-address-types=InternalIP",
    )
    found = [
        Command(
            "etcd",
            [binaries["etcd"], *programs.etcd_flags(data=layout.etcd, port=ETCD_PORT, files=files.etcd)],
        ),
        Command("kube-apiserver", [binaries["kube-apiserver"], *apiserver], health=f"{layout.url}/readyz"),
    ]
    for name, port, flags in (
        ("kube-controller-manager", CONTROLLER_MANAGER_PORT, programs.controller_manager_flags),
        ("kube-scheduler", SCHEDULER_PORT, programs.scheduler_flags),
    ):
        kubeconfig = layout.config / f"{name}.kubeconfig"
        arguments: list[str | Path] = [binaries[name], *flags(files=files, port=port, kubeconfig=kubeconfig)]
        found.append(Command(name, arguments, health=f"https://{programs.HOST}:{port}/healthz"))
    return found


def node_commands(layout: Layout, binaries: Mapping[str, Path]) -> list[Command]:
    """Return how the kubelet and kube-proxy are run."""
    kubelet = layout.config / "kubelet.json"
    proxy = layout.config / "kube-proxy.json"
    return [
        Command(
            "kubelet",
            [
                binaries["kubelet"],
                f"--config={kubelet}",
                f"--root-dir={layout.kubelet}",
                f"--kubeconfig={layout.config / 'node.kubeconfig'}",
                f"--hostname-override={NODE_NAME}",
                f"--node-ip={NODE_ADDRESS}",
            ],
            reads=[kubelet],
            health=f"http://{programs.HOST}:{KUBELET_HEALTH_PORT}/healthz",
        ),
        Command(
            "kube-proxy",
            [binaries["kube-proxy"], f"--config={proxy}"],
            reads=[proxy],
            health=f"http://{programs.HOST}:{PROXY_HEALTH_PORT}/healthz",
        ),
    ]
