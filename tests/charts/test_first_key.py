"""The Job that makes the first key, run against a real API server with the rights that the chart gives it."""

import base64
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts.variants import environment
from cluster.control_plane import ControlPlane
from heliograph_gateway.keys.document import parse_keys
from heliograph_gateway.settings import GatewaySettings
from scaling.installed import Installed

CHART = Path(__file__).resolve().parents[2] / "charts" / "heliograph"
PLAIN, DIGESTS = "heliograph-first-key", "heliograph-gateway-keys"
OFF = ("gateway.keys.create=false", "gateway.keys.existingSecret=mine", "gateway.apiKeySecret.name=mine")


def objects(helm: Callable[..., str], *options: str) -> list[dict[str, Any]]:
    text = helm("template", "heliograph", CHART, *options)
    return [item for item in yaml.safe_load_all(text) if item]


def job_of(helm: Callable[..., str], *options: str) -> dict[str, Any]:
    (job,) = (item for item in objects(helm, *options) if item["kind"] == "Job")
    return job


def gateway_of(helm: Callable[..., str], *options: str) -> dict[str, Any]:
    (deployment,) = (
        item
        for item in objects(helm, *options)
        if item["kind"] == "Deployment" and item["metadata"]["name"] == "heliograph-gateway"
    )
    pod: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return pod


@pytest.fixture
def installed(cluster: ControlPlane, namespace: str, helm: Callable[..., str], tmp_path: Path) -> Installed:
    """The accounts and roles of the chart in a namespace of the test's own."""
    return Installed(cluster, namespace, tmp_path, helm)


@pytest.fixture
def first(installed: Installed, helm: Callable[..., str]) -> Callable[[], subprocess.CompletedProcess[str]]:
    """Run what the Job runs, as its own account."""
    job = job_of(helm, "--namespace", installed.namespace)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"][0] == "heliograph"
    command = [sys.executable, "-m", "heliograph", *container["command"][1:], *container["args"]]
    environment = os.environ | {"KUBECONFIG": str(installed.kubeconfig("first-key"))}

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)

    return run


def field(installed: Installed, secret: str, name: str) -> str:
    path = f"/api/v1/namespaces/{installed.namespace}/secrets/{secret}"
    data = installed.cluster.admin.get(path).raise_for_status().json()["data"]
    assert list(data) == [name]
    return base64.b64decode(data[name]).decode()


def delete(installed: Installed, *secrets: str) -> None:
    for secret in secrets:
        installed.cluster.admin.delete(f"/api/v1/namespaces/{installed.namespace}/secrets/{secret}").raise_for_status()


def key_of(installed: Installed) -> str:
    """Return the key, and check that the document is of that one."""
    key = field(installed, PLAIN, "api-key")
    (found,) = parse_keys(field(installed, DIGESTS, "keys.yaml"))
    assert found.sha256 == hashlib.sha256(key.encode()).hexdigest()
    assert (found.name, set(found.scopes)) == ("default", {"models", "admin"})
    return key


def test_the_key_is_made_once(installed: Installed, first: Callable[[], subprocess.CompletedProcess[str]]) -> None:
    made = first()
    assert made.returncode == 0, made.stderr
    key = key_of(installed)
    assert len(key) > 40
    assert key not in made.stdout + made.stderr
    again = first()
    assert again.returncode == 0, again.stderr
    assert f"Secret {installed.namespace}/{DIGESTS} is there already; nothing was changed" in again.stderr
    assert key_of(installed) == key


def test_what_was_interrupted_is_gone_on_with(
    installed: Installed, first: Callable[[], subprocess.CompletedProcess[str]]
) -> None:
    first()
    key = key_of(installed)
    delete(installed, DIGESTS)
    assert first().returncode == 0
    assert key_of(installed) == key, "the key that was noted stays"
    # Who keeps the key elsewhere may delete it here.
    delete(installed, PLAIN)
    assert first().returncode == 0
    missing = installed.cluster.admin.get(f"/api/v1/namespaces/{installed.namespace}/secrets/{PLAIN}")
    assert missing.status_code == 404


def test_who_deletes_both_gets_a_new_one(
    installed: Installed, first: Callable[[], subprocess.CompletedProcess[str]]
) -> None:
    first()
    key = key_of(installed)
    delete(installed, PLAIN, DIGESTS)
    first()
    assert key_of(installed) != key


def test_two_at_a_time_agree(installed: Installed, first: Callable[[], subprocess.CompletedProcess[str]]) -> None:
    with ThreadPoolExecutor(4) as threads:
        runs = [threads.submit(first) for _ in range(4)]
    assert [run.result().returncode for run in runs] == [0] * 4, [run.result().stderr for run in runs]
    key_of(installed)


def test_a_secret_of_somebody_else_is_left_alone(
    installed: Installed, first: Callable[[], subprocess.CompletedProcess[str]]
) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": PLAIN}, "stringData": {"other": "thing"}}
    installed.apply(secret)
    refused = first()
    assert refused.returncode == 1
    assert f"Secret {installed.namespace}/{PLAIN} has no api-key; delete it, or put a key there" in refused.stderr
    assert field(installed, PLAIN, "other") == "thing"


def test_its_account_may_do_nothing_else(installed: Installed) -> None:
    account = f"system:serviceaccount:{installed.namespace}:heliograph-first-key"

    def may(verb: str, *what: str) -> bool:
        command = ("auth", "can-i", verb, *what, "--namespace", installed.namespace, "--as", account)
        return installed.cluster.kubectl(*command, check=False).stdout.strip() == "yes"

    assert may("create", "secrets")
    assert may("get", f"secrets/{PLAIN}")
    assert may("get", f"secrets/{DIGESTS}")
    for verb in ("list", "watch", "update", "patch", "delete", "deletecollection"):
        assert not may(verb, f"secrets/{PLAIN}"), verb
    assert not may("get", "secrets/other")
    assert not may("get", "secrets")
    assert not may("create", "pods")


def test_the_gateway_waits_for_the_documents(helm: Callable[..., str]) -> None:
    pod = gateway_of(helm)
    (volume,) = (volume for volume in pod["volumes"] if volume["name"] == "keys")
    assert volume["secret"] == {"secretName": DIGESTS, "optional": False, "defaultMode": 0o440}
    (mount,) = (mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "keys")
    assert environment(pod)["HELIOGRAPH_GATEWAY_KEYS_FILE"] == mount["mountPath"]
    # What a render can tell is no secret: nothing of it changes from one to the next.
    assert objects(helm) == objects(helm)


@pytest.mark.parametrize("option", OFF)
def test_no_key_is_made_where_another_is_named(helm: Callable[..., str], option: str) -> None:
    assert not [item for item in objects(helm, "--set", option) if "first-key" in item["metadata"]["name"]]
    keys = [volume for volume in gateway_of(helm, "--set", option)["volumes"] if volume["name"] == "keys"]
    assert [volume["secret"]["secretName"] for volume in keys] == (["mine"] if "existing" in option else [])


def test_another_template_is_another_job(helm: Callable[..., str]) -> None:
    names = {job_of(helm, *options)["metadata"]["name"] for options in ((), (), ("--set", "image.tag=v2"))}
    assert len(names) == 2
    long = f"{'x' * 60}.name"
    text = helm("template", long[:53], CHART)
    (job,) = (item for item in yaml.safe_load_all(text) if item and item["kind"] == "Job")
    assert len(job["metadata"]["name"]) <= 63


@pytest.mark.parametrize(
    ("option", "note"),
    [
        ("image.tag=v1", f"kubectl get secret {PLAIN} -n default -o jsonpath='{{.data.api-key}}' | base64 -d"),
        ("gateway.keys.existingSecret=mine", "Requests carry a key of those in the Secret mine."),
        ("gateway.apiKeySecret.name=mine", "Requests carry the key in the Secret mine."),
        ("gateway.keys.create=false", "It asks for no key, so that whoever reaches it may draw"),
    ],
)
def test_the_notes_say_where_the_key_is(
    cluster: ControlPlane, helm: Callable[..., str], option: str, note: str, tmp_path: Path
) -> None:
    place = ("--kubeconfig", str(cluster.kubeconfig()), "--namespace", "default")
    text = helm(
        "install", "heliograph", CHART, "--dry-run=client", "--set", option, *place,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert note in text.partition("NOTES:")[2]


def test_https_is_served_and_probed_alike(helm: Callable[..., str]) -> None:
    plain, tls = gateway_of(helm), gateway_of(helm, "--set", "gateway.tls.secretName=web")
    for pod, scheme in ((plain, "HTTP"), (tls, "HTTPS")):
        container = pod["containers"][0]
        for probe in ("readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["scheme"] == scheme
    found = environment(tls)
    (mount,) = (mount for mount in tls["containers"][0]["volumeMounts"] if mount["name"] == "tls")
    for name, file in (("CERT", "crt"), ("KEY", "key")):
        assert found[f"HELIOGRAPH_GATEWAY_TLS_{name}_FILE"] == f"{mount['mountPath']}/tls.{file}"
    origins = gateway_of(helm, "--set", "gateway.corsOrigins={https://a.test,*}")
    assert environment(origins)["HELIOGRAPH_GATEWAY_CORS_ORIGINS"] == "https://a.test,*"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), ()),
        (("gateway.ingress.hosts={images.example.org}",), ()),
        (("gateway.ingress.enabled=true", "gateway.ingress.hosts={images.example.org}"), ("images.example.org",)),
        (("gateway.ingress.enabled=true", "gateway.ingress.hosts={*}"), ("*",)),
        (("gateway.httpRoute.enabled=true", "gateway.httpRoute.parentRefs[0].name=public"), ("*",)),
        (("gateway.env.HELIOGRAPH_GATEWAY_ALLOWED_HOSTS=lan.example.net",), ("lan.example.net",)),
    ],
)
def test_a_gateway_without_keys_knows_its_names(
    helm: Callable[..., str], options: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    sets = [part for option in options for part in ("--set", option)]
    found = [item for item in gateway_of(helm, *sets)["containers"][0]["env"] if item["name"].endswith("ALLOWED_HOSTS")]
    (item,) = found
    service, *others = GatewaySettings(allowed_hosts=item["value"]).allowed_hosts
    assert service.startswith("heliograph-gateway.")
    assert tuple(others) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), {"name": PLAIN, "key": "api-key"}),
        (("--set", "gateway.apiKeySecret.name=mine"), {"name": "mine", "key": "api-key"}),
        (("--set", "monitoring.podMonitors.apiKeySecret.name=scraper"), {"name": "scraper", "key": "api-key"}),
        (("--set", "gateway.keys.existingSecret=mine"), None),
    ],
)
def test_prometheus_scrapes_with_a_key(
    helm: Callable[..., str], options: tuple[str, ...], expected: dict[str, str] | None
) -> None:
    (monitor,) = (
        item
        for item in objects(helm, "--set", "monitoring.podMonitors.enabled=true", *options)
        if item["kind"] == "PodMonitor" and item["metadata"]["name"] == "heliograph-gateway"
    )
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint.get("authorization", {}).get("credentials") == expected
