"""A real Kubernetes control plane for tests: etcd, API server, controller manager and scheduler, without nodes.

RBAC is on, the default admission plug-ins run, and every write is in an audit log. Nothing needs root.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from cluster import programs
from cluster.addresses import free_port
from cluster.audit import POLICY, AuditLog
from cluster.certificates import Authority
from cluster.kubeconfig import write_kubeconfig
from cluster.kubectl import run_kubectl
from cluster.leash import Leash, start_leashed
from cluster.waiting import eventually

_START_TIMEOUT = 60.0


class ControlPlane:
    """One control plane on free loopback ports, with files of its own in one folder.

    A context manager: it starts on entry and stops on exit. Its processes end with this process at the latest.
    """

    def __init__(self, *, folder: Path, binaries: Mapping[str, Path]) -> None:
        """Make the certificates of a control plane; nothing runs yet.

        Args:
            folder: An empty folder for certificates, kubeconfigs, data, and logs (`NAME.log` for each program).
            binaries: Path of each program, as `cluster.binaries.find_binaries` returns them.
        """
        self.folder = folder
        self.processes: dict[str, Leash] = {}
        self._port = free_port()
        self.url = f"https://{programs.HOST}:{self._port}"
        self._binaries = binaries
        self._running = contextlib.ExitStack()
        self._flags: dict[str, Sequence[str]] = {}
        self._health: dict[str, str] = {}
        self._authority = Authority(folder)
        self._files = self._write_files()
        self._users: dict[tuple[str, tuple[str, ...]], dict[str, str]] = {}
        self.admin = self._admin_client()
        """HTTP client for the API server that may do everything; takes paths such as `/api/v1/namespaces`."""
        self.audit = AuditLog(folder / "audit.log", self.admin)
        """The writes that the API server was asked for."""

    @property
    def ca_certificate(self) -> Path:
        """PEM file of the authority for the API server's certificate."""
        return self._authority.certificate

    @property
    def serving_certificate(self) -> tuple[Path, Path]:
        """PEM files of the API server's certificate and its key, for whatever stands in its place."""
        return self._files.serving_certificate, self._files.serving_key

    def __enter__(self) -> Self:
        """Start everything; on return it is ready and the namespace `default` is furnished.

        Raises:
            LeashedProcessError: When a program ends or does not get ready; the message holds the end of its log.
        """
        with contextlib.ExitStack() as starting:
            starting.callback(self.admin.close)
            self._start(starting)
            self._running = starting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every process and remove etcd's data; certificates and logs stay."""
        self._running.close()

    def kubectl(
        self,
        *arguments: str | Path,
        input: str | None = None,  # noqa: A002 - as subprocess.run calls it
        kubeconfig: Path | None = None,
        check: bool = True,
        timeout: float = 60.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl, as the administrator unless told otherwise.

        Args:
            arguments: What follows `kubectl`.
            input: What it reads from stdin, for `-f -`.
            kubeconfig: Whose credentials and namespace it uses; None is the administrator in `default`.
            check: Whether an exit code other than 0 is an error.
            timeout: Seconds.

        Raises:
            KubectlError: On an exit code other than 0 with `check`.
        """
        return run_kubectl(
            self._binaries["kubectl"],
            arguments,
            kubeconfig=kubeconfig or self.kubeconfig(),
            environment=self._environment(),
            input_text=input,
            check=check,
            timeout=timeout,
        )

    def kubeconfig(
        self, user: str = "admin", *, groups: Sequence[str] | None = None, namespace: str = "default"
    ) -> Path:
        """Return a kubeconfig for a user with a client certificate.

        Args:
            user: Kubernetes user name.
            groups: The user's groups; None is system:masters for `admin`, and no group for anyone else.
            namespace: The namespace where a request names none.
        """
        if groups is None:
            groups = ("system:masters",) if user == "admin" else ()
        identity = (user, tuple(groups))
        if identity not in self._users:
            stem = _file_stem("user", user, *groups)
            certificate, key = self._authority.issue_client(stem, user=user, groups=groups)
            self._users[identity] = {"client-certificate": str(certificate), "client-key": str(key)}
        return self._write_kubeconfig("user", user, *groups, credentials=self._users[identity], namespace=namespace)

    def service_account_token(self, namespace: str, name: str, *, seconds: int = 3600) -> str:
        """Return a token of a ServiceAccount, valid for `seconds` (at least 600), from the TokenRequest API.

        Raises:
            httpx.HTTPStatusError: When there is no such ServiceAccount.
        """
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        answer = self.admin.post(path, json={"spec": {"expirationSeconds": seconds}}).raise_for_status()
        token: str = answer.json()["status"]["token"]
        return token

    def service_account_kubeconfig(self, namespace: str, name: str, *, seconds: int = 3600) -> Path:
        """Return a kubeconfig that acts as a ServiceAccount, in its namespace, by a token valid for `seconds`."""
        token = self.service_account_token(namespace, name, seconds=seconds)
        return self._write_kubeconfig("serviceaccount", name, credentials={"token": token}, namespace=namespace)

    @contextlib.contextmanager
    def without(self, name: str) -> Iterator[None]:
        """Kill one of the programs but etcd for the time of the `with` block; the others go on.

        Raises:
            LeashedProcessError: When it does not get ready again; the message holds the end of its log.
        """
        self.processes[name].stop()
        try:
            yield
        finally:
            self._run(self._running, name, self._flags[name])
            self._wait_until_ready(name, self._health[name])

    def wait_for_namespace(self, name: str) -> None:
        """Wait until a namespace has what pods in it need: its default ServiceAccount and the cluster's CA."""

        def furnished() -> bool:
            paths = ("serviceaccounts/default", "configmaps/kube-root-ca.crt")
            return all(self.admin.get(f"/api/v1/namespaces/{name}/{path}").is_success for path in paths)

        eventually(furnished, what=f"default ServiceAccount and CA in namespace {name}")

    def _write_files(self) -> programs.Files:
        certificate, key = self._authority.issue_server("kube-apiserver", hosts=programs.SERVING_NAMES)
        public, private = self._authority.issue_signing_key("service-account")
        policy = self.folder / "audit-policy.json"
        policy.write_text(json.dumps(POLICY))
        return programs.Files(
            ca=self._authority.certificate,
            serving_certificate=certificate,
            serving_key=key,
            token_public_key=public,
            token_private_key=private,
            audit=programs.AuditFiles(policy=policy, log=self.folder / "audit.log"),
        )

    def _admin_client(self) -> httpx.Client:
        trust = ssl.create_default_context(cafile=self.ca_certificate)
        trust.load_cert_chain(*self._authority.issue_client("rig", user="rig", groups=("system:masters",)))
        # trust_env: a proxy is for other hosts than this one.
        return httpx.Client(base_url=self.url, verify=trust, timeout=30.0, trust_env=False)

    def _start(self, starting: contextlib.ExitStack) -> None:
        data = self.folder / "etcd"
        starting.callback(shutil.rmtree, data, ignore_errors=True)
        etcd_port, *client_ports = (free_port() for _ in range(3))
        self._run(starting, "etcd", programs.etcd_flags(data=data, port=etcd_port))
        # It waits for etcd by itself.
        self._run(
            starting,
            "kube-apiserver",
            programs.apiserver_flags(files=self._files, port=self._port, etcd_port=etcd_port),
        )
        self._wait_until_ready("kube-apiserver", f"{self.url}/readyz")
        clients = {
            "kube-controller-manager": programs.controller_manager_flags,
            "kube-scheduler": programs.scheduler_flags,
        }
        for (name, flags), port in zip(clients.items(), client_ports, strict=True):
            kubeconfig = self.kubeconfig(f"system:{name}")
            self._run(starting, name, flags(files=self._files, port=port, kubeconfig=kubeconfig))
        for name, port in zip(clients, client_ports, strict=True):
            self._wait_until_ready(name, f"https://{programs.HOST}:{port}/healthz")
        self.wait_for_namespace("default")

    def _run(self, starting: contextlib.ExitStack, name: str, flags: Sequence[str]) -> None:
        self._flags[name] = flags
        # Nothing here is worth an orderly end.
        leash = start_leashed(
            [self._binaries[name], *flags], log=self.folder / f"{name}.log", env=self._environment(), grace=0
        )
        self.processes[name] = starting.enter_context(leash)

    def _wait_until_ready(self, name: str, url: str) -> None:
        self._health[name] = url

        def ready() -> bool:
            try:
                return self.admin.get(url).is_success
            except httpx.TransportError:
                return False

        self.processes[name].wait_until(ready, timeout=_START_TIMEOUT)

    def _environment(self) -> dict[str, str]:
        # Neither the user's kubeconfig and caches nor a proxy has a part in the tests.
        return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.folder)}

    def _write_kubeconfig(self, kind: str, *names: str, credentials: Mapping[str, str], namespace: str) -> Path:
        path = self.folder / f"{_file_stem(kind, *names, namespace)}.kubeconfig"
        return write_kubeconfig(
            path, url=self.url, ca=self.ca_certificate, credentials=credentials, namespace=namespace
        )


def _file_stem(*names: str) -> str:
    """Return a file name that is safe, readable, and another one for other names."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", "-".join(names))[:80]
    return f"{readable}-{hashlib.sha256(repr(names).encode()).hexdigest()[:8]}"
