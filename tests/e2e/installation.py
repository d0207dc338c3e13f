"""A whole Heliograph on a real control plane: the chart installed by helm, its containers run as processes."""

import base64
import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
from PIL import Image

from cluster.addresses import free_port, routable_address
from cluster.control_plane import ControlPlane
from cluster.leash import Leash
from cluster.pods import run_container
from cluster.waiting import eventually, is_answered

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = {"heliograph-models": ROOT / "examples"}
NAMESPACE = "heliograph-system"
RELEASE = "heliograph"
GARBAGE_COLLECTION = 120.0
"""Seconds: the garbage collector learns of a kind that was defined while it ran at its next resync only."""

CHILDREN = ("deployments", "services", "configmaps", "serviceaccounts", "networkpolicies", "poddisruptionbudgets")
"""Kinds of the children that an ImageModel has."""
OURS = "app.kubernetes.io/managed-by=heliograph"


@dataclass
class Installation:
    """A running installation and what the tests do with it."""

    cluster: ControlPlane
    folder: Path
    gateway_port: int
    operator: Leash | None = None
    key: str = ""

    @property
    def carrying_key(self) -> dict[str, str]:
        """Return the headers of a request that carries the key."""
        return {"authorization": f"Bearer {self.key}"}

    @property
    def gateway_url(self) -> str:
        return f"http://127.0.0.1:{self.gateway_port}"

    def kubectl(self, *arguments: str | Path, **options: Any) -> str:
        return self.cluster.kubectl("--namespace", NAMESPACE, *arguments, **options).stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "--output", "json"))
        return answer

    def items(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(kind, *(["--selector", selector] if selector else []))["items"]
        return found

    def wait_until_gone(self, kind: str, selector: str) -> None:
        eventually(lambda: not self.items(kind, selector), what=f"end of {kind} {selector}", timeout=GARBAGE_COLLECTION)

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.gateway_url}/v1", api_key=self.key, max_retries=0)

    def run_part(self, component: str, port: int) -> Leash:
        """Run the chart's operator or gateway container, as its own ServiceAccount."""
        deployment = self.get(f"deployment/{RELEASE}-{component}")
        account = deployment["spec"]["template"]["spec"]["serviceAccountName"]
        folder = self.folder / f"{component}-{port}"
        folder.mkdir()
        return run_container(
            deployment["spec"]["template"],
            folder=folder,
            port=port,
            secrets=self.secrets(),
            env={"KUBECONFIG": str(self.cluster.service_account_kubeconfig(NAMESPACE, account))},
        )

    def make_key(self) -> None:
        """Run the chart's Job, and read the key as its notes say."""
        (job,) = self.items("jobs", "app.kubernetes.io/component=first-key")
        template = job["spec"]["template"]
        folder = self.folder / "first-key"
        folder.mkdir()
        account = self.cluster.service_account_kubeconfig(NAMESPACE, template["spec"]["serviceAccountName"])
        with run_container(template, folder=folder, port=0, env={"KUBECONFIG": str(account)}) as process:
            assert process.wait(timeout=60) == 0, process.tail()
        self.key = self.secrets()[f"{RELEASE}-first-key"]["api-key"]

    def secrets(self) -> dict[str, dict[str, str]]:
        """Return what each Secret holds."""
        return {
            item["metadata"]["name"]: {
                name: base64.b64decode(value).decode() for name, value in item.get("data", {}).items()
            }
            for item in self.items("secrets")
        }

    def start_operator(self) -> None:
        port = free_port()
        self.operator = self.run_part("operator", port)
        self.operator.wait_until(lambda: is_answered(f"http://127.0.0.1:{port}/readyz"))

    def stop_operator(self) -> None:
        if self.operator:
            self.operator.stop()

    @contextlib.contextmanager
    def running_pod(
        self, model_label: str, deployment: dict[str, Any], *, claims: Mapping[str, Path] = EXAMPLES
    ) -> Iterator[Leash]:
        """Run a model's container, published the way a node and the EndpointSlice controller would.

        Args:
            model_label: Value of the label `heliograph.dev/model`.
            deployment: The model's Deployment.
            claims: Folder that holds the files of each PersistentVolumeClaim, by name.
        """
        port = free_port()
        folder = self.folder / f"{model_label}-{port}"
        folder.mkdir()
        config_maps = {item["metadata"]["name"]: item["data"] for item in self.items("configmaps")}
        with run_container(
            deployment["spec"]["template"],
            folder=folder,
            port=port,
            config_maps=config_maps,
            claims=claims,
        ) as process:
            process.wait_until(lambda: is_answered(f"http://127.0.0.1:{port}/readyz"), timeout=180)
            service = self.items("services", f"heliograph.dev/model={model_label}")[0]
            self.kubectl("apply", "--filename", "-", input=json.dumps(_endpoint_slice(service, port)))
            yield process


def _endpoint_slice(service: dict[str, Any], port: int) -> dict[str, Any]:
    name = service["metadata"]["name"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-process",
            "labels": {
                **service["metadata"]["labels"],
                "kubernetes.io/service-name": name,
                "endpointslice.kubernetes.io/managed-by": "tests",
            },
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Service", "name": name, "uid": service["metadata"]["uid"]}
            ],
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [routable_address()], "conditions": {"ready": True}}],
    }


def draw(client: openai.OpenAI, prompt: str, *, model: str = "tiny", **options: object) -> Image.Image:
    answer = client.images.generate(model=model, prompt=prompt, extra_body=options)
    assert answer.data is not None
    encoded = answer.data[0].b64_json
    assert encoded is not None
    return Image.open(io.BytesIO(base64.b64decode(encoded)))
