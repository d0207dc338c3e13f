"""Command lines of the control plane's programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
SERVICE_RANGE = "10.96.0.0/16"
SERVING_NAMES = (
    HOST,
    "::1",
    "localhost",
    "10.96.0.1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
"""What clients may call the API server by."""


@dataclass(frozen=True, kw_only=True)
class EtcdFiles:
    """The files with which etcd, its one client, and peers know each other; it has no peers, but listens for them."""

    ca: Path
    serving_certificate: Path
    serving_key: Path
    client_certificate: Path
    client_key: Path
    peer_certificate: Path
    peer_key: Path


@dataclass(frozen=True, kw_only=True)
class AuditFiles:
    """The policy by which writes are logged, and the log."""

    policy: Path
    log: Path


@dataclass(frozen=True, kw_only=True)
class Files:
    """The files that the programs share; etcd lets everybody in where it has none, and writes are not logged."""

    ca: Path
    serving_certificate: Path
    serving_key: Path
    token_public_key: Path
    token_private_key: Path
    audit: AuditFiles | None = None
    etcd: EtcdFiles | None = None


def etcd_flags(*, data: Path, port: int, files: EtcdFiles | None = None) -> Sequence[str]:
    """Return etcd's flags; it may lose everything in a power cut, which is no matter here."""
    scheme = "https" if files else "http"
    url = f"{scheme}://{HOST}:{port}"
    guarded = (
        (
            "--client-cert-auth",
            f"--trusted-ca-file={files.ca}",
            f"--cert-file={files.serving_certificate}",
            f"--key-file={files.serving_key}",
            "--peer-client-cert-auth",
            f"--peer-trusted-ca-file={files.ca}",
            f"--peer-cert-file={files.peer_certificate}",
            f"--peer-key-file={files.peer_key}",
        )
        if files
        else ()
    )
    return (
        *guarded,
        f"--data-dir={data}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={scheme}://{HOST}:0",
        "--unsafe-no-fsync",
        "--log-level=warn",
    )


def apiserver_flags(*, files: Files, port: int, etcd_port: int, address: str = HOST) -> Sequence[str]:
    """Return kube-apiserver's flags: RBAC, the default admission plug-ins, and a log of all writes where one is named.

    Args:
        files: The files that the programs share.
        port: The port that it listens at.
        etcd_port: The port of etcd.
        address: The address that it listens at; pods are told of one that is not loopback.
    """
    # It would publish its own address for pods, and refuses to publish a loopback one.
    published = "--endpoint-reconciler-type=none" if address == HOST else f"--advertise-address={address}"
    audit = (f"--audit-policy-file={files.audit.policy}", f"--audit-log-path={files.audit.log}") if files.audit else ()
    etcd = (
        (
            f"--etcd-servers=https://{HOST}:{etcd_port}",
            f"--etcd-cafile={files.etcd.ca}",
            f"--etcd-certfile={files.etcd.client_certificate}",
            f"--etcd-keyfile={files.etcd.client_key}",
        )
        if files.etcd
        else (f"--etcd-servers=http://{HOST}:{etcd_port}",)
    )
    return (
        *etcd,
        f"--bind-address={address}",
        f"--secure-port={port}",
        published,
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        f"--tls-cert-file={files.serving_certificate}",
        f"--tls-private-key-file={files.serving_key}",
        f"--client-ca-file={files.ca}",
        "--authorization-mode=Node,RBAC",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={files.token_public_key}",
        f"--service-account-signing-key-file={files.token_private_key}",
        *audit,
    )


def controller_manager_flags(*, files: Files, port: int, kubeconfig: Path) -> Sequence[str]:
    """Return kube-controller-manager's flags: all default controllers, each under its own service account."""
    return (
        *_client_flags(files=files, port=port, kubeconfig=kubeconfig),
        f"--root-ca-file={files.ca}",
        f"--service-account-private-key-file={files.token_private_key}",
        "--use-service-account-credentials=true",
    )


def scheduler_flags(*, files: Files, port: int, kubeconfig: Path) -> Sequence[str]:
    """Return kube-scheduler's flags."""
    return _client_flags(files=files, port=port, kubeconfig=kubeconfig)


def _client_flags(*, files: Files, port: int, kubeconfig: Path) -> Sequence[str]:
    return (
        f"--kubeconfig={kubeconfig}",
        f"--bind-address={HOST}",
        f"--secure-port={port}",
        f"--tls-cert-file={files.serving_certificate}",
        f"--tls-private-key-file={files.serving_key}",
        "--leader-elect=false",
        # The default client-side limits would hold up a busy test run.
        "--kube-api-qps=1000",
        "--kube-api-burst=1000",
    )
