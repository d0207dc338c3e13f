"""A release of the chart: installed, changed and removed with helm, as its users do it."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cluster.waiting import eventually
from node.kubectl import Kubectl
from node.models import secret

CHARTS = Path(__file__).resolve().parents[2] / "charts"
NAME = "heliograph"
COMPONENTS = ("operator", "gateway")
_HELM = Path(sys.executable).parent / "helm"
_SECONDS = 300.0


class HelmError(RuntimeError):
    """helm ended with a code other than 0; the message holds what it wrote to stderr."""


@dataclass(frozen=True)
class Release:
    """The release `heliograph` in one namespace."""

    kubectl: Kubectl

    @property
    def url(self) -> str:
        """Return the base URL of the API, as pods of any namespace reach it."""
        return f"http://{NAME}-gateway.{self.kubectl.namespace}/v1"

    @property
    def key(self) -> str:
        """Return the API key that the chart made."""
        return secret(self.kubectl, f"{NAME}-first-key", "api-key")

    @property
    def gateway_address(self) -> str:
        """Return the URL of the gateway's Service as it is reached on the node, where no name is resolved."""
        spec = self.kubectl.get(f"service/{NAME}-gateway")["spec"]
        return f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}"

    def define(self) -> None:
        """Install the chart with the CustomResourceDefinition, or bring it up to date."""
        self.helm("upgrade", "--install", f"{NAME}-crds", CHARTS / "heliograph-crds")

    def install(self, *options: str, chart: Path = CHARTS / "heliograph") -> None:
        """Install the chart, and wait until operator and gateway are ready."""
        self.helm("install", NAME, chart, *options)
        self.wait()

    def upgrade(self, *options: str) -> None:
        """Bring the release to the chart as it is here, keeping the values that were set."""
        self.helm("upgrade", NAME, CHARTS / "heliograph", "--reset-then-reuse-values", *options)
        self.wait()

    def uninstall(self) -> None:
        """Uninstall it, and wait until its pods are gone."""
        self.helm("uninstall", NAME, "--wait", f"--timeout={_SECONDS:.0f}s")

    def remove(self) -> None:
        """Uninstall it, if it is there, and remove its models and its namespace."""
        self.helm("uninstall", NAME, "--ignore-not-found")
        self.kubectl("delete", "imagemodels", "--all", timeout=150)
        # A namespace that is deleted with pods in it looks for them again only after half of their grace.
        eventually(lambda: not self.kubectl.items("pods"), what="end of the pods", timeout=_SECONDS)
        self.kubectl("delete", "namespace", self.kubectl.namespace, "--timeout=120s", timeout=150)

    def wait(self) -> None:
        """Wait until operator and gateway are rolled out."""
        for component in COMPONENTS:
            told = f"--timeout={_SECONDS:.0f}s"
            self.kubectl("rollout", "status", f"deployment/{NAME}-{component}", told, timeout=_SECONDS + 30)

    def helm(self, *arguments: str | Path) -> str:
        """Run helm in the release's namespace and return what it printed.

        Raises:
            HelmError: On an exit code other than 0.
        """
        result = subprocess.run(
            [_HELM, *arguments, "--namespace", self.kubectl.namespace],
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS + 60,
            env=self.kubectl.environment,
        )
        if result.returncode:
            raise HelmError(
                f"helm {' '.join(map(str, arguments))} ended with code {result.returncode}:\n{result.stderr}"
            )
        return result.stdout
