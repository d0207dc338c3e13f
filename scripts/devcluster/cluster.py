"""The development cluster as one thing that is brought up and taken down."""

import contextlib
import functools
import os
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from cluster.binaries import NODE_PROGRAMS, PROGRAMS, find_binaries
from cluster.go_programs import BuildError, cache_folder
from cluster.kubectl import KubectlError, run_kubectl
from cluster.waiting import eventually
from devcluster import host, network, processes, remains
from devcluster.containerd import Containerd
from devcluster.generated import addons, write_files
from devcluster.layout import DNS_ADDRESS, DNS_DOMAIN, NODE_NAME, Layout
from devcluster.machine import check_machine
from devcluster.node_programs import Command, containerd_command, control_plane_commands, node_commands
from devcluster.parts import REPOSITORIES, Parts, make_parts
from steps import Reporter, StepError, alone

_APPLY = ("apply", "--server-side", "--force-conflicts", "--field-manager=devcluster", "--filename=-")
_ENDED_FIRST = ("kubelet", "kube-proxy", "kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")


class ClusterExistsError(StepError):
    """There is a cluster where a new one is wanted."""


class Cluster:
    """The one development cluster of this machine."""

    def __init__(self, folder: Path | None = None, *, reporter: Reporter | None = None) -> None:
        """Name the cluster; nothing is done yet.

        Args:
            folder: Where it keeps its files; None is `devcluster` in the project's cache.
            reporter: What to tell the user with.
        """
        self.layout = Layout(folder or cache_folder(os.environ) / "devcluster")
        self._reporter = reporter or Reporter()
        self._containerd = Containerd(self.layout, self._reporter)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; it is there once the cluster was brought up."""
        return self.layout.kubeconfig

    @property
    def kubectl_program(self) -> Path:
        """kubectl, for users; it is there once the cluster was brought up."""
        return self.layout.bin / "kubectl"

    @property
    def environment(self) -> dict[str, str]:
        """Environment of programs that talk to the cluster: no proxy and none of the user's settings is in it."""
        return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.layout.root), "KUBERC": "off"}

    @functools.cached_property
    def busybox(self) -> str:
        """Name of an image with a shell, which is always there."""
        return make_parts(self.layout, self._reporter)["busybox"]

    @functools.cached_property
    def api(self) -> httpx.Client:
        """HTTP client for the API server that may do everything; takes paths such as `/api/v1/nodes`."""
        trust = ssl.create_default_context(cafile=self.layout.pki / "ca.crt")
        trust.load_cert_chain(*self.layout.pair("admin"))
        return httpx.Client(base_url=self.layout.url, verify=trust, timeout=30.0, trust_env=False)

    def up(self, *, anew: bool = False) -> bool:
        """Bring the cluster up, or bring one that runs, or what a crash left of one, up to date.

        On return the node is ready, with DNS and a default StorageClass.

        Args:
            anew: Whether a cluster that is there already is an error.

        Returns:
            Whether anything had to be started.

        Raises:
            ClusterExistsError: With `anew`, when there is one.
            StepError: When this machine is not fit for it, or a step failed; what was started goes on, and the next
                call goes on from there.
        """
        check_machine(self.layout)
        with self._alone():
            if anew and self.is_there():
                raise ClusterExistsError("there is a development cluster already: end it with `make cluster-down`")
            host.check_alone(self.layout)
            host.install_packages(self._reporter)
            host.check_addresses(self.layout)
            binaries = self._binaries()
            parts = make_parts(self.layout, self._reporter)
            return self._start(binaries, parts)

    def down(self) -> bool:
        """End the cluster and remove what it left on the machine, but images, logs and built programs.

        Returns:
            Whether there was anything to end.

        Raises:
            StepError: When a step failed; the next call goes on from there.
        """
        check_machine(self.layout)
        with self._alone():
            if not self.is_there():
                return False
            host.check_no_other(self.layout)
            if "api" in self.__dict__:
                self.api.close()
                del self.api
            self._end()
        return True

    def is_there(self) -> bool:
        """Return whether anything of it runs, or was kept for the next start."""
        return bool(processes.of(self.layout.root)) or any(path.exists() for path in self.layout.ends_with_the_cluster)

    def is_up(self) -> bool:
        """Return whether every program runs and the API server is ready."""
        if not self.layout.pki.is_dir():
            return False
        names = {program.name for program in processes.of(self.layout.root) if program.is_leader}
        return names >= {"containerd", *_ENDED_FIRST} and self._answers(f"{self.layout.url}/readyz")

    def kubectl(
        self, *arguments: str | Path, input_text: str | None = None, check: bool = True, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator, in the namespace `default` unless told otherwise.

        Args:
            arguments: What follows `kubectl`.
            input_text: What it reads from stdin, for `-f -`.
            check: Whether an exit code other than 0 is an error.
            timeout: Seconds.

        Raises:
            StepError: On an exit code other than 0 with `check`, or when it takes too long.
        """
        try:
            return run_kubectl(
                self.kubectl_program,
                arguments,
                kubeconfig=self.kubeconfig,
                environment=self.environment,
                input_text=input_text,
                check=check,
                timeout=timeout,
            )
        except (KubectlError, subprocess.TimeoutExpired) as error:
            raise StepError(str(error)) from error

    def ctr(self, *arguments: str | Path) -> str:
        """Run containerd's `ctr` in the namespace of Kubernetes and return what it prints.

        Raises:
            StepError: When it fails.
        """
        return self._containerd.ctr(*arguments)

    def import_image(self, archive: Path) -> bool:
        """Import the images of an archive; see `Containerd.import_image`."""
        return self._containerd.import_image(archive)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep a second run waiting while this one changes the cluster."""
        self.layout.root.mkdir(parents=True, exist_ok=True)
        self.layout.root.chmod(0o700)
        with alone(self.layout.root / "lock", self._reporter, waiting_for="another run to finish with the cluster"):
            yield

    def _binaries(self) -> dict[str, Path]:
        try:
            return find_binaries(programs=(*PROGRAMS, *NODE_PROGRAMS))
        except BuildError as error:
            raise StepError(str(error)) from error

    def _start(self, binaries: Mapping[str, Path], parts: Parts) -> bool:
        layout = self.layout
        network.record(layout)
        network.add_address()
        is_new = not layout.etcd.exists()
        resolver = write_files(layout, binaries, parts)
        started = self._ensure(containerd_command(layout))
        if started and is_new:
            self._containerd.remove_containers()
        for image in parts.images.values():
            self.import_image(image.path)
        control_plane = control_plane_commands(layout, binaries)
        started |= self._run(control_plane)
        node = node_commands(layout, binaries)
        started |= self._run(node)
        for manifests in addons(layout, parts, resolver):
            self.apply(manifests)
        self._wait_for_node()
        self._containerd.remove_images(REPOSITORIES, but=[image.name for image in parts.images.values()])
        return started

    def _ensure(self, command: Command) -> bool:
        """Have a program run as it should; return whether it had to be started."""
        root, log = self.layout.root, self.layout.logs / f"{command.name}.log"
        if running := processes.find(root, command.name):
            if running.fingerprint == command.fingerprint:
                return False
            processes.end([running])
        self._reporter.start(f"Starting {command.name}")
        processes.start(command.name, command.arguments, root=root, fingerprint=command.fingerprint, log=log)
        if command.name == "containerd":
            processes.wait_until(self._containerd.answers, root=root, name=command.name, log=log)
        return True

    def _run(self, commands: list[Command]) -> bool:
        """Have programs run, and wait until they are ready; return whether one had to be started."""
        started = [self._ensure(command) for command in commands]
        for command in commands:
            if command.health:
                log = self.layout.logs / f"{command.name}.log"
                ready = functools.partial(self._answers, command.health)
                processes.wait_until(ready, root=self.layout.root, name=command.name, log=log)
        return any(started)

    def _answers(self, url: str) -> bool:
        try:
            return self.api.get(url, timeout=5).is_success
        except httpx.TransportError:
            return False

    def apply(self, manifests: str) -> None:
        """Apply manifests as this tool's own fields.

        Raises:
            StepError: When the API server refuses one.
        """
        self.kubectl(*_APPLY, input_text=manifests)

    def _wait_for_node(self) -> None:
        self._reporter.start("Waiting for the node, DNS and storage")
        deployments = "/apis/apps/v1/namespaces/kube-system/deployments"
        checks = {
            "node": functools.partial(self._has, f"/api/v1/nodes/{NODE_NAME}", "Ready"),
            "DNS": functools.partial(self._has, f"{deployments}/coredns", "Available"),
            # What a crash left is called available for a while.
            "answer of the DNS": functools.partial(
                network.answers_names, DNS_ADDRESS, f"kubernetes.default.svc.{DNS_DOMAIN}"
            ),
            "storage": functools.partial(self._has, f"{deployments}/local-path-provisioner", "Available"),
        }
        for what, check in checks.items():
            try:
                eventually(check, what=what, timeout=120.0)
            except TimeoutError as error:
                raise StepError(
                    f"{error}. See `{self.kubectl_program} --kubeconfig {self.kubeconfig} get events -A` and the logs"
                    f" in {self.layout.logs}"
                ) from error

    def _has(self, path: str, condition: str) -> bool:
        self._reporter.tick("")
        try:
            answer = self.api.get(path)
        except httpx.TransportError:
            return False
        if not answer.is_success:
            return False
        found: dict[str, Any] = answer.json()
        status = found.get("status", {})
        if status.get("observedGeneration", 0) < found["metadata"].get("generation", 0):
            return False
        return any(item["type"] == condition and item["status"] == "True" for item in status.get("conditions", ()))

    def _end(self) -> None:
        layout = self.layout
        self._reporter.start("Ending the programs")
        running = processes.of(layout.root)
        # The kubelet first, or it would start again what ends.
        for name in _ENDED_FIRST:
            # The API server would wait a minute for those that watch.
            grace = 2.0 if name == "kube-apiserver" else 10.0
            processes.end([program for program in running if program.name == name and program.is_leader], grace=grace)
        self._reporter.start("Ending the containers")
        if processes.find(layout.root, "containerd"):
            self._containerd.remove_containers()
        self._containerd.end()
        processes.end_all(layout.root)
        self._reporter.start("Removing mounts, links, rules and addresses")
        remains.unmount([layout.root, layout.run])
        network.restore(layout)
        remains.remove_shared(layout)
        remains.remove_files(layout)
