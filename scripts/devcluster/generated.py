"""Writes what the programs of the cluster are started with, and renders what is applied to it."""

import json
import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from devcluster import configuration, credentials, host, network
from devcluster.layout import DNS_ADDRESS, DNS_DOMAIN, Layout
from devcluster.parts import Parts

_MANIFESTS = Path(__file__).resolve().parent / "manifests"
_RESOLVERS = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))


def write_files(layout: Layout, binaries: Mapping[str, Path], parts: Parts) -> str:
    """Write certificates and configuration, and return the name servers of pods."""
    for folder in (layout.run, layout.config / "networks", layout.logs, layout.bin, layout.volumes):
        folder.mkdir(parents=True, exist_ok=True)
    layout.run.chmod(0o700)
    credentials.make_certificates(layout)
    credentials.write_kubeconfigs(layout)
    resolver = configuration.resolver_config([path.read_text() for path in _RESOLVERS if path.exists()])
    resolv_conf = layout.config / "resolv.conf"
    plugins = host.plugin_folder()
    for name, content in {
        "resolv.conf": resolver,
        "containerd.toml": configuration.containerd_config(layout, pause=parts["pause"], plugins=plugins),
        "networks/10-devcluster.conflist": _json(configuration.network_config(layout, mtu=network.outside_mtu())),
        "kubelet.json": _json(configuration.kubelet_config(layout, resolv_conf=resolv_conf)),
        "kube-proxy.json": _json(configuration.proxy_config(layout)),
    }.items():
        file = layout.config / name
        # kube-proxy ends when its file is written.
        if not file.exists() or file.read_text() != content:
            file.write_text(content)
    kubectl = layout.bin / "kubectl"
    if not (kubectl.is_symlink() and kubectl.readlink() == binaries["kubectl"]):
        kubectl.unlink(missing_ok=True)
        kubectl.symlink_to(binaries["kubectl"])
    return resolver


def addons(layout: Layout, parts: Parts, resolver: str) -> Iterator[str]:
    """Yield the manifests of the cluster's DNS and storage.

    Args:
        layout: The cluster's folders.
        parts: Its images.
        resolver: Name servers that its DNS asks for other names; none when empty.
    """
    values = {
        "COREDNS": parts["coredns"],
        "PROVISIONER": parts["local-path-provisioner"],
        "BUSYBOX": parts["busybox"],
        "DNS_ADDRESS": DNS_ADDRESS,
        "DNS_DOMAIN": DNS_DOMAIN,
        "FORWARD": "forward . /etc/resolv.conf" if resolver else "",
        "RESOLVER": resolver.strip().replace("\n", ", "),
        "VOLUMES": str(layout.volumes),
    }
    for manifest in sorted(_MANIFESTS.glob("*.yaml")):
        yield string.Template(manifest.read_text()).substitute(values)


def _json(content: Any) -> str:
    return json.dumps(content, indent=1) + "\n"
