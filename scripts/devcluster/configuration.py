"""Configuration of containerd, the pods' network, kubelet and kube-proxy, as data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from devcluster.layout import (
    DNS_ADDRESS,
    DNS_DOMAIN,
    KUBELET_HEALTH_PORT,
    KUBELET_PORT,
    NETWORK_NAME,
    NODE_ADDRESS,
    NODE_NAME,
    POD_RANGE,
    PROXY_HEALTH_PORT,
    PROXY_METRICS_PORT,
    Layout,
)

# The file is TOML 1.0, which takes a JSON string as it is.
_CONTAINERD = """\
version = 2
root = {root}
state = {state}

[grpc]
  address = {socket}

[plugins."io.containerd.internal.v1.opt"]
  path = {opt}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {pause}
  stream_server_address = "127.0.0.1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {plugins}
    conf_dir = {networks}

  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""


def containerd_config(layout: Layout, *, pause: str, plugins: Path) -> str:
    """Return containerd's configuration: nothing of it is outside the cluster's folders.

    Args:
        layout: The cluster's folders.
        pause: Name of the image that holds a pod's namespaces.
        plugins: Folder of the network plug-ins.
    """
    return _CONTAINERD.format(
        root=_quoted(layout.containerd_root),
        state=_quoted(layout.containerd_state),
        socket=_quoted(layout.socket),
        opt=_quoted(layout.run / "opt"),
        pause=_quoted(pause),
        plugins=_quoted(plugins),
        networks=_quoted(layout.config / "networks"),
    )


def _quoted(value: object) -> str:
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def network_config(layout: Layout, *, mtu: int) -> dict[str, Any]:
    """Return the pods' network: every pod has a link of its own to the machine, which routes.

    Routed pods need no br_netfilter for Services, as pods on one bridge do; kind's network is made likewise.

    Args:
        layout: The cluster's folders.
        mtu: Bytes in a packet at most: those of the interface that leads outside.
    """
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": POD_RANGE}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(layout.addresses),
    }
    return {
        "cniVersion": "0.4.0",
        "name": NETWORK_NAME,
        "plugins": [
            {"type": "ptp", "ipMasq": True, "mtu": mtu, "ipam": addresses},
            {"type": "portmap", "capabilities": {"portMappings": True}},
            # Other programs, such as Docker, have the machine drop what it forwards.
            {"type": "firewall", "backend": "iptables"},
        ],
    }


def kubelet_config(layout: Layout, *, resolv_conf: Path) -> dict[str, Any]:
    """Return the kubelet's configuration.

    Args:
        layout: The cluster's folders.
        resolv_conf: Name servers of pods that do not use the cluster's DNS, which CoreDNS is one of.
    """
    certificate, key = layout.pair("kubelet")
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "port": KUBELET_PORT,
        "healthzPort": KUBELET_HEALTH_PORT,
        "tlsCertFile": str(certificate),
        "tlsPrivateKeyFile": str(key),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": DNS_DOMAIN,
        "resolvConf": str(resolv_conf),
        "containerRuntimeEndpoint": f"unix://{layout.socket}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "podLogsDir": str(layout.pod_logs),
        "volumePluginDir": str(layout.kubelet / "volume-plugins"),
        # Images that were imported cannot be pulled again, so none is removed for want of room, and no pod either.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
            "imagefs.inodesFree": "0%",
        },
    }


def proxy_config(layout: Layout) -> dict[str, Any]:
    """Return kube-proxy's configuration; ports of nodes are on the node's own address, not on the machine's."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(layout.config / "kube-proxy.kubeconfig")},
        "hostnameOverride": NODE_NAME,
        "mode": "iptables",
        "clusterCIDR": POD_RANGE,
        "nodePortAddresses": ["primary"],
        "healthzBindAddress": f"127.0.0.1:{PROXY_HEALTH_PORT}",
        "metricsBindAddress": f"127.0.0.1:{PROXY_METRICS_PORT}",
        "iptables": {"localhostNodePorts": False},
        # The machine's own settings stay as they are.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def resolver_config(texts: Sequence[str]) -> str:
    """Return a resolv.conf with the name servers of others that pods can reach: a pod has a loopback of its own.

    Args:
        texts: Contents of the machine's resolv.conf files; the first one with such name servers counts.
    """
    for text in texts:
        lines = [line for line in text.splitlines() if line.startswith("nameserver ")]
        if usable := [line for line in lines if not line.split()[1].startswith(("127.", "::1"))]:
            return "\n".join(usable) + "\n"
    return ""
