"""Where the development cluster keeps its files, and the addresses that it uses."""

from dataclasses import dataclass
from pathlib import Path

NODE_NAME = "devcluster"
NODE_ADDRESS = "10.243.0.1"
"""Of the API server and the kubelet, on the loopback interface: pods reach it, other machines have no route to it.

It is away from the first networks of Docker and of Podman."""
API_PORT = 6443
ETCD_PORT = 2379
KUBELET_PORT = 10250
KUBELET_HEALTH_PORT = 10248
PROXY_HEALTH_PORT = 10256
PROXY_METRICS_PORT = 10249
CONTROLLER_MANAGER_PORT = 10257
SCHEDULER_PORT = 10259
POD_RANGE = "10.244.0.0/24"
DNS_ADDRESS = "10.96.0.10"
DNS_DOMAIN = "cluster.local"
NETWORK_NAME = "heliograph-devcluster"

LONGEST_FOLDER = 107 - len("/kubelet/pod-resources/kubelet.sock")
"""Characters of the folder's path: Linux bounds the path of a socket, and the kubelet makes this one below it."""


@dataclass(frozen=True)
class Layout:
    """The folders of the cluster.

    Attributes:
        root: What is kept on disk.
        run: Sockets, and what is worth nothing after a restart of the machine; one cluster runs on a machine at a time.

    Both are without symbolic links, as the kernel names mounts.
    """

    root: Path
    run: Path = Path("/run/heliograph-devcluster")

    def __post_init__(self) -> None:
        """Follow symbolic links in the paths."""
        for name in ("root", "run"):
            object.__setattr__(self, name, getattr(self, name).resolve())

    @property
    def url(self) -> str:
        """The API server's URL."""
        return f"https://{NODE_ADDRESS}:{API_PORT}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.root / "kubeconfig"

    @property
    def socket(self) -> Path:
        """The socket of containerd."""
        return self.run / "containerd.sock"

    @property
    def containerd_state(self) -> Path:
        """Containerd's state: the bundles of running containers, and the network namespaces of pods."""
        return self.run / "containerd"

    @property
    def containerd_root(self) -> Path:
        """Containerd's images; they outlive the cluster."""
        return self.root / "containerd"

    @property
    def images(self) -> Path:
        """Archives of the images that the cluster itself needs; they outlive it."""
        return self.root / "images"

    @property
    def logs(self) -> Path:
        """The log of each program; they outlive the cluster."""
        return self.root / "logs"

    @property
    def bin(self) -> Path:
        """Links to programs for the user, and to the network plug-ins."""
        return self.root / "bin"

    @property
    def config(self) -> Path:
        """Generated configuration of the programs."""
        return self.root / "config"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.root / "pki"

    @property
    def etcd(self) -> Path:
        """What the API server keeps."""
        return self.root / "etcd"

    @property
    def kubelet(self) -> Path:
        """The kubelet's folder: volumes of pods among them."""
        return self.root / "kubelet"

    @property
    def pod_logs(self) -> Path:
        """Logs of containers."""
        return self.root / "pod-logs"

    @property
    def volumes(self) -> Path:
        """Persistent volumes."""
        return self.root / "volumes"

    @property
    def addresses(self) -> Path:
        """Which pod has which address."""
        return self.root / "addresses"

    @property
    def before(self) -> Path:
        """What the machine's settings were before the cluster changed them."""
        return self.root / "before.json"

    def pair(self, name: str) -> tuple[Path, Path]:
        """Return the files of a certificate and its key."""
        return self.pki / f"{name}.crt", self.pki / f"{name}.key"

    @property
    def ends_with_the_cluster(self) -> tuple[Path, ...]:
        """What `down` removes of `root`."""
        folders = (
            self.etcd,
            self.kubelet,
            self.volumes,
            self.pod_logs,
            self.addresses,
            self.config,
            self.pki,
            self.bin,
        )
        return (*folders, self.kubeconfig, self.before)
