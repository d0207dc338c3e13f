"""kubectl, as whoever has a kubeconfig runs it."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from cluster.kubectl import run_kubectl
from cluster.waiting import eventually

Object = dict[str, Any]


@dataclass(frozen=True)
class Kubectl:
    """kubectl in one namespace.

    Attributes:
        program: The program.
        kubeconfig: Whose credentials it uses.
        namespace: The namespace where a command names none.
    """

    program: Path
    kubeconfig: Path
    namespace: str = "default"

    def within(self, namespace: str) -> Self:
        """Return the same for another namespace."""
        return replace(self, namespace=namespace)

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which kubectl and helm know nothing but this cluster."""
        home = str(self.kubeconfig.parent)
        return {"PATH": os.environ.get("PATH", os.defpath), "HOME": home, "KUBECONFIG": str(self.kubeconfig)}

    def __call__(self, *arguments: str | Path, stdin: str | None = None, timeout: float = 120.0) -> str:
        """Run kubectl and return what it printed.

        Raises:
            KubectlError: On an exit code other than 0; the message holds what it wrote to stderr.
        """
        return run_kubectl(
            self.program,
            ["--namespace", self.namespace, *arguments],
            kubeconfig=self.kubeconfig,
            environment=self.environment,
            input_text=stdin,
            timeout=timeout,
        ).stdout

    def get(self, *arguments: str) -> Object:
        """Return one object."""
        found: Object = json.loads(self("get", *arguments, "--output", "json"))
        return found

    def items(self, kind: str, labels: Mapping[str, str] | None = None) -> list[Object]:
        """Return the objects of a kind, those that bear some labels."""
        selector = ",".join(f"{key}={value}" for key, value in (labels or {}).items())
        found: list[Object] = self.get(kind, *(["--selector", selector] if selector else []))["items"]
        return found

    def apply(self, *objects: Object) -> None:
        """Apply objects."""
        self("apply", "--filename", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def delete(self, *named: str, wait: bool = True) -> None:
        """Delete objects, named KIND/NAME, as far as they are there."""
        self("delete", *named, "--ignore-not-found", f"--wait={str(wait).lower()}", timeout=300)

    def make_namespace(self, name: str) -> Self:
        """Make a namespace that takes *restricted* pods alone, and return kubectl in it."""
        labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        inside = self.within(name)
        eventually(lambda: inside.items("serviceaccounts"), what=f"the ServiceAccount of namespace {name}")
        return inside
