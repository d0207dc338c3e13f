"""A pod with OpenAI's Python client, in a namespace of its own: what an application in the cluster is."""

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from PIL import Image

from node.kubectl import Kubectl, Object

NAMESPACE = "clients"
_PROGRAM = Path(__file__).with_name("ask.py").read_text()
_WAIT = ("python3", "-c", "import signal; signal.sigwait({signal.SIGTERM})")
_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "fsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


def _pod_spec(image: str, env: list[Object]) -> Object:
    """Return a pod fit for *restricted* namespaces."""
    container: Object = {
        "name": "client",
        "image": image,
        "imagePullPolicy": "Never",
        "command": list(_WAIT),
        "env": env,
        "securityContext": _CONTAINER_SECURITY,
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
    }
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": _SECURITY,
        "containers": [container],
    }


@dataclass(frozen=True)
class Client:
    """The application's pod, which asks one gateway.

    Attributes:
        kubectl: kubectl in the namespace `clients`.
        name: Name of its Deployment.
    """

    kubectl: Kubectl
    name: str

    @classmethod
    def start(cls, kubectl: Kubectl, *, name: str, image: str, url: str, key: str) -> Self:
        """Start the pod.

        Args:
            kubectl: kubectl in any namespace.
            name: Name of the pod's Deployment.
            image: Image with the package `openai`.
            url: Base URL of the API, as it is reached inside the cluster.
            key: API key.
        """
        inside = kubectl.make_namespace(NAMESPACE)
        labels = {"app": name}
        env: list[Object] = [
            {"name": "OPENAI_BASE_URL", "value": url},
            {"name": "OPENAI_API_KEY", "valueFrom": {"secretKeyRef": {"name": name, "key": "key"}}},
            {"name": "PYTHONPATH", "value": "/client"},
        ]
        inside.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"key": key}},
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": name, "labels": labels},
                "spec": {
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": _pod_spec(image, env)},
                },
            },
        )
        client = cls(inside, name)
        client.wait()
        return client

    def wait(self) -> None:
        """Wait until the pod runs."""
        self.kubectl("rollout", "status", f"deployment/{self.name}", "--timeout=120s", timeout=150)

    def draw(self, model: str, prompt: str = "a red circle on a white background", **options: object) -> Image.Image:
        """Ask for a picture, once and without a second try.

        Args:
            model: The model.
            prompt: The prompt.
            options: What the request's body holds beside; `seed` is 1 unless given.

        Raises:
            KubectlError: When the client raised something, which the message holds.
        """
        asked = json.dumps({"model": model, "prompt": prompt, "extra_body": {"seed": 1, **options}})
        told = self.kubectl(
            "exec", "-i", f"deploy/{self.name}", "--", "python3", "-", asked, stdin=_PROGRAM, timeout=330
        )
        return Image.open(io.BytesIO(base64.b64decode(told)))
