"""Certificates and kubeconfigs of the cluster's programs and of its administrator."""

import datetime
import shutil
from pathlib import Path

from cluster import programs
from cluster.certificates import Authority
from cluster.kubeconfig import write_kubeconfig
from devcluster.layout import NODE_ADDRESS, NODE_NAME, Layout

_LIFETIME = datetime.timedelta(days=3650)
_NAME = "heliograph-devcluster"
CLIENTS = {
    "admin": ("admin", ("system:masters",)),
    "kubelet-client": ("kube-apiserver-kubelet-client", ()),
    "kube-controller-manager": ("system:kube-controller-manager", ()),
    "kube-scheduler": ("system:kube-scheduler", ()),
    "kube-proxy": ("system:kube-proxy", ()),
    "node": (f"system:node:{NODE_NAME}", ("system:nodes",)),
}
"""User and groups of each client."""


def make_certificates(layout: Layout) -> None:
    """Make all certificates at once, unless they are there; the authorities' own keys are kept nowhere."""
    if layout.pki.is_dir():
        return
    unfinished = layout.pki.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / "etcd").mkdir(parents=True)
    authority = Authority(unfinished, name=_NAME, lifetime=_LIFETIME)
    authority.issue_server("kube-apiserver", hosts=(*programs.SERVING_NAMES, NODE_ADDRESS))
    authority.issue_server("kubelet", hosts=(NODE_NAME, NODE_ADDRESS))
    authority.issue_signing_key("service-account")
    for name, (user, groups) in CLIENTS.items():
        authority.issue_client(name, user=user, groups=groups)
    # Whoever writes to etcd may do everything, so that it trusts an authority of its own.
    etcd = Authority(unfinished / "etcd", name=f"{_NAME}-etcd", lifetime=_LIFETIME)
    etcd.issue_server("server", hosts=(programs.HOST,))
    etcd.issue_client("client", user="kube-apiserver")
    etcd.issue_peer("peer", hosts=(programs.HOST,))
    unfinished.rename(layout.pki)


def files(layout: Layout) -> programs.Files:
    """Return the files that the control plane's programs share."""
    certificate, key = layout.pair("kube-apiserver")
    etcd_certificate, etcd_key = layout.pair("etcd/server")
    client_certificate, client_key = layout.pair("etcd/client")
    peer_certificate, peer_key = layout.pair("etcd/peer")
    return programs.Files(
        ca=layout.pki / "ca.crt",
        serving_certificate=certificate,
        serving_key=key,
        token_public_key=layout.pki / "service-account.pub",
        token_private_key=layout.pki / "service-account.key",
        etcd=programs.EtcdFiles(
            ca=layout.pki / "etcd" / "ca.crt",
            serving_certificate=etcd_certificate,
            serving_key=etcd_key,
            client_certificate=client_certificate,
            client_key=client_key,
            peer_certificate=peer_certificate,
            peer_key=peer_key,
        ),
    )


def write_kubeconfigs(layout: Layout) -> None:
    """Write the administrator's kubeconfig, and one for each program in the folder of configuration."""
    for name in ("kube-controller-manager", "kube-scheduler", "kube-proxy", "node"):
        _write(layout, layout.config / f"{name}.kubeconfig", name)
    _write(layout, layout.kubeconfig, "admin")


def _write(layout: Layout, path: Path, client: str) -> None:
    certificate, key = layout.pair(client)
    credentials = {"client-certificate": str(certificate), "client-key": str(key)}
    write_kubeconfig(path, url=layout.url, ca=layout.pki / "ca.crt", credentials=credentials, name=_NAME)
