"""`helm test` of an installed release: its pod runs as a process, and a node's part is played."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from charts.variants import CHARTS
from cluster.addresses import free_port
from cluster.control_plane import ControlPlane
from cluster.leash import Leash
from cluster.pods import run_container
from cluster.waiting import eventually, is_answered

RELEASE, POD = "heliograph", "heliograph-test"


@dataclass(frozen=True)
class Release:
    """An installed release, whose pods run as processes where a test starts them."""

    cluster: ControlPlane
    namespace: str
    folder: Path

    def get(self, *what: str) -> dict[str, Any]:
        answer = self.cluster.kubectl("get", *what, "--namespace", self.namespace, "--output", "json")
        found: dict[str, Any] = json.loads(answer.stdout)
        return found

    def secrets(self) -> dict[str, dict[str, str]]:
        return {
            item["metadata"]["name"]: {
                name: base64.b64decode(value).decode() for name, value in item.get("data", {}).items()
            }
            for item in self.get("secrets")["items"]
        }

    def make_key(self) -> None:
        """Run the Job that makes the first key."""
        (job,) = self.get("jobs")["items"]
        with self.run("first-key", job["spec"]["template"], port=0) as process:
            assert process.wait(timeout=60) == 0, process.tail()

    def run(self, part: str, template: dict[str, Any], *, port: int) -> Leash:
        """Run a container of the release with the rights of its account."""
        account = template["spec"]["serviceAccountName"]
        kubeconfig = self.cluster.service_account_kubeconfig(self.namespace, account)
        (self.folder / part).mkdir()
        return run_container(
            template,
            folder=self.folder / part,
            port=port,
            secrets=self.secrets(),
            env={"KUBECONFIG": str(kubeconfig)},
        )

    @contextmanager
    def gateway(self) -> Iterator[str]:
        """Run the gateway, and yield its URL."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        template = self.get(f"deployment/{RELEASE}-gateway")["spec"]["template"]
        with self.run("gateway", template, port=port) as process:
            process.wait_until(lambda: is_answered(f"{url}/readyz"))
            yield url

    def test(self, url: str) -> tuple[int, str]:
        """Run `helm test` with the gateway at `url`, and return its exit status and what its pod said.

        The pod is not on a node: it is started here with the addresses that the cluster's DNS would give, and its end
        is told as a kubelet would.
        """
        program = Path(sys.executable).parent / "helm"
        place = ("--namespace", self.namespace, "--kubeconfig", self.cluster.kubeconfig())
        helm = subprocess.Popen(
            [program, "test", RELEASE, *place, "--timeout", "120s"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"HOME": str(self.folder)},
        )
        try:
            path = f"/api/v1/namespaces/{self.namespace}/pods/{POD}"
            eventually(lambda: self.cluster.admin.get(path).is_success, what="pod of the test")
            code, said = self._play(self.cluster.admin.get(path).json(), url)
            phase = {"status": {"phase": "Succeeded" if code == 0 else "Failed"}}
            headers = {"content-type": "application/merge-patch+json"}
            self.cluster.admin.patch(f"{path}/status", content=json.dumps(phase), headers=headers).raise_for_status()
            helm.communicate(timeout=120)
        finally:
            helm.kill()
            helm.wait()
        return helm.returncode, said

    def _play(self, pod: dict[str, Any], url: str) -> tuple[int, str]:
        (container,) = pod["spec"]["containers"]
        service = self.get(f"service/{RELEASE}-gateway")
        port = service["spec"]["ports"][0]["port"]
        assert container["args"][0] == f"http://{service['metadata']['name']}.{self.namespace}:{port}"
        reference = container["env"][0]["valueFrom"]["secretKeyRef"]
        key = self.secrets().get(reference["name"], {}).get(reference["key"], "")
        assert reference["optional"] or key
        environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        done = subprocess.run(
            [sys.executable, "-m", *container["command"], url, "--wait=5"],
            env=environment | ({container["env"][0]["name"]: key} if key else {}),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def release(imagemodels: ControlPlane, namespace: str, helm: Callable[..., str], tmp_path: Path) -> Release:
    """The chart with its defaults in a namespace where nothing else than restricted pods may be."""
    imagemodels.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    place = ("--namespace", namespace, "--kubeconfig", str(imagemodels.kubeconfig()))
    helm("install", RELEASE, CHARTS / "heliograph", *place, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
    return Release(imagemodels, namespace, tmp_path)


def test_an_installation_passes_its_test_and_fails_it_with_what_is_wrong(release: Release) -> None:
    release.make_key()
    with release.gateway() as url:
        assert release.test(url) == (
            0,
            f"{url}/readyz: the gateway takes requests\n{url}/v1/models: 0 models\n",
        )

        # Another key than the one whose digest the gateway has.
        wrong = json.dumps({"stringData": {"api-key": "hg-another"}})
        secret = f"secret/{RELEASE}-first-key"
        release.cluster.kubectl("patch", secret, "--namespace", release.namespace, "--patch", wrong)
        code, said = release.test(url)
        assert code != 0
        assert "Give one of the gateway's keys that has the scope `models`." in said

        release.cluster.kubectl("delete", secret, "--namespace", release.namespace)
        code, said = release.test(url)
        assert code == 0
        assert "none was given, so that the models were not read" in said

    code, said = release.test(url)
    assert code != 0
    assert f"{url}/readyz could not be reached" in said


def test_https_is_asked_for_where_the_gateway_serves_it(helm: Callable[..., str], render: Any) -> None:
    (pod,) = (item for item in render("heliograph", "--set", "gateway.tls.secretName=web") if item["kind"] == "Pod")
    assert pod["spec"]["containers"][0]["args"] == ["https://heliograph-gateway.default:80", "--wait=60", "--insecure"]


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("gateway.logFormat=json", {"name": "heliograph-first-key", "key": "api-key", "optional": True}),
        ("gateway.apiKeySecret.name=mine", {"name": "mine", "key": "api-key", "optional": True}),
        ("gateway.keys.existingSecret=mine", None),
        ("gateway.keys.create=false", None),
    ],
)
def test_it_carries_the_key_that_the_chart_knows_of(render: Any, option: str, expected: dict[str, Any] | None) -> None:
    (pod,) = (item for item in render("heliograph", "--set", option) if item["kind"] == "Pod")
    (container,) = pod["spec"]["containers"]
    references = [item["valueFrom"]["secretKeyRef"] for item in container.get("env", ())]
    assert references == ([expected] if expected else [])
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
