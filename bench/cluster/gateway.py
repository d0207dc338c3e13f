"""kubectl, and the gateway of a cluster as it is reached from outside."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

_LONGEST_SECONDS = 600.0


@dataclass(frozen=True)
class Kubectl:
    """kubectl in one namespace of the cluster."""

    program: str
    kubeconfig: Path
    namespace: str

    @classmethod
    def find(cls, kubeconfig: Path, namespace: str) -> "Kubectl":
        """Return kubectl from PATH, else the one that the tests build."""
        from cluster.binaries import find_binaries  # noqa: PLC0415 - the tests' folder is put on the path by __main__

        return cls(shutil.which("kubectl") or str(find_binaries()["kubectl"]), kubeconfig, namespace)

    def command(self, *arguments: str) -> list[str]:
        """Return a command line."""
        return [self.program, "--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace, *arguments]

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Run it; end the program with what it says when it fails."""
        done = subprocess.run(self.command(*arguments), input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def key(self, release: str) -> str:
        """Return the API key that the chart made."""
        secret = json.loads(self("get", f"secret/{release}-first-key", "--output", "json"))
        return base64.b64decode(secret["data"]["api-key"]).decode()

    @contextlib.contextmanager
    def gateway(self, release: str) -> Iterator[httpx.Client]:
        """Yield a client of the gateway that carries the key."""
        command = self.command("port-forward", f"service/{release}-gateway", ":80")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as forwarding:
            assert forwarding.stdout
            line = forwarding.stdout.readline()
            try:
                port = int(line.partition("127.0.0.1:")[2].split(" ")[0])
            except ValueError:
                raise SystemExit(f"kubectl port-forward service/{release}-gateway failed: {line.strip()}") from None
            headers = {"authorization": f"Bearer {self.key(release)}"}
            try:
                with httpx.Client(
                    base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=_LONGEST_SECONDS, trust_env=False
                ) as client:
                    yield client
            finally:
                forwarding.terminate()


def draw(client: httpx.Client, model: str, prompt: str) -> float:
    """Ask for one picture and return the moment at which it was there, on the monotonic clock.

    Raises:
        SystemExit: The answer is no picture.
    """
    answer = client.post(
        "/v1/images/generations", json={"model": model, "prompt": prompt, "response_format": "b64_json"}
    )
    if answer.status_code != httpx.codes.OK:
        raise SystemExit(f"{model}: {answer.status_code} {answer.text}")
    if not base64.b64decode(answer.json()["data"][0]["b64_json"]).startswith(b"\x89PNG"):
        raise SystemExit(f"{model}: the answer holds no PNG")
    return time.monotonic()
