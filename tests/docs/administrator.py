"""A cluster, as the documents' reader with kubectl and helm has it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster.control_plane import ControlPlane
from cluster.pods import run_container
from cluster.waiting import eventually
from docs.blocks import ROOT
from heliograph_api import naming

NAMESPACE = "heliograph"


@dataclass(frozen=True)
class Administrator:
    """A cluster, as somebody with kubectl and helm has it.

    Attributes:
        cluster: Its control plane; it has no nodes.
        programs: Folder with kubectl and helm.
        folder: Where pods are played.
        helm: Runs helm.
    """

    cluster: ControlPlane
    programs: Path
    folder: Path
    helm: Callable[..., str]

    @property
    def variables(self) -> dict[str, str]:
        return {"KUBECONFIG": str(self.cluster.kubeconfig()), "KUBERC": "off"}

    def install(self) -> None:
        """Have the definitions, the release and the model that most documents start from."""
        self.cluster.kubectl("apply", "--filename", ROOT / "crds")
        self.helm(
            "upgrade", "--install", "heliograph", ROOT / "charts" / "heliograph", "--namespace", NAMESPACE,
            "--create-namespace", "--kubeconfig", self.cluster.kubeconfig(),
            env={"HOME": str(self.folder), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        self.cluster.kubectl("apply", "--namespace", NAMESPACE, "--filename", ROOT / "examples" / "tiny.yaml")
        self.play_first_key()
        # No operator runs, and commands ask for what it would have written.
        labels = ",".join(f"{key}={value}" for key, value in sorted(naming.selector_labels("tiny").items()))
        self.cluster.kubectl(
            "patch", "imagemodel", "tiny", "--namespace", NAMESPACE, "--subresource", "status", "--type", "merge",
            "--patch", json.dumps({"status": {"selector": labels}}),
        )  # fmt: skip

    def play_first_key(self) -> None:
        """Run the Job that makes the first key, if it waits for a node, since there is none."""
        jobs = json.loads(
            self.cluster.kubectl(
                "get", "jobs", "--namespace", NAMESPACE, "--selector", "app.kubernetes.io/component=first-key",
                "--output", "json",
            ).stdout
        )["items"]  # fmt: skip
        present = self.cluster.kubectl("get", "secrets", "--namespace", NAMESPACE, "--output", "name").stdout
        if not jobs or "secret/heliograph-first-key\n" in present:
            return
        template = jobs[0]["spec"]["template"]
        self.cluster.wait_for_namespace(NAMESPACE)
        account = template["spec"]["serviceAccountName"]
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}"
        eventually(lambda: self.cluster.admin.get(path).is_success, what=f"ServiceAccount {account}")
        kubeconfig = self.cluster.service_account_kubeconfig(NAMESPACE, account)
        folder = self.folder / jobs[0]["metadata"]["uid"]
        folder.mkdir()
        with run_container(template, folder=folder, port=0, env={"KUBECONFIG": str(kubeconfig)}) as process:
            assert process.wait(timeout=60) == 0, process.tail()
