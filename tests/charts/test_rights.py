"""The chart's roles grant what the operator and the gateway use, by the word of the API server, and nothing else."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cluster.audit import AUDITED
from cluster.control_plane import ControlPlane
from cluster.waiting import eventually
from heliograph_api import naming
from operator_rig import Served, running_operator
from scaling.installed import LOAD_SERVICE, Installed, image_model

CHART = Path(__file__).resolve().parents[2] / "charts" / "heliograph"
OPTIONS = ("--set", "operator.replicas=2")
FETCHED = {"model": "https://models.example.org/weights.safetensors"}
PARTS = ("operator", "gateway", "first-key")
NEVER_A_REQUEST = {("imagemodels.heliograph.dev/finalizers", "update")}
"""Asked by the API server of those who write owner references, where a cluster wants it so."""

Right = tuple[str, str]


@pytest.fixture(scope="module")
def installed(
    imagemodels: ControlPlane, helm: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installed]:
    """The accounts and roles of the chart, in a namespace where every request of theirs is logged."""
    imagemodels.admin.post("/api/v1/namespaces", json={"metadata": {"name": AUDITED}}).raise_for_status()
    imagemodels.wait_for_namespace(AUDITED)
    yield Installed(imagemodels, AUDITED, tmp_path_factory.mktemp("audited"), helm, *OPTIONS)
    imagemodels.admin.delete(f"/api/v1/namespaces/{AUDITED}").raise_for_status()


@pytest.fixture(scope="module")
def used(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[Right]]:
    """What each part did in the course of all that it can be asked for; none of it was forbidden."""
    mark = installed.cluster.audit.mark()
    work(installed, tmp_path_factory.mktemp("worked"))
    rights: dict[str, set[Right]] = {}
    for part in PARTS:
        events = installed.cluster.audit.events(mark, user=f"system:serviceaccount:{AUDITED}:heliograph-{part}")
        assert [event for event in events if event.code == 403] == []
        rights[part] = {(event.resource, event.verb) for event in events if event.resource}
        # To apply what is not there yet takes the right to create it.
        rights[part] |= {(event.resource, "create") for event in events if (event.verb, event.code) == ("patch", 201)}
    return rights


def work(installed: Installed, folder: Path) -> None:
    """Have models made, fetched, mended, woken, put to sleep, turned into aliases and deleted."""
    served = Served(installed.cluster, AUDITED)
    make_the_first_key(installed)
    options = ("--namespaces", AUDITED, "--lease", "--lease-namespace", AUDITED)
    scaling = ("--gateway-service", f"{AUDITED}/{LOAD_SERVICE}", "--autoscale-seconds", "0.2")
    with (
        installed.gateway(HOLD_SECONDS="1") as gateway,
        running_operator(folder, installed.kubeconfig("operator"), *options, *scaling) as operator,
    ):
        operator.wait_until_ready()
        served.apply("no-pods", {"hard": {"pods": "0"}}, kind="ResourceQuota")
        status = ("get", "resourcequota/no-pods", "--output", "jsonpath={.status.hard}")
        eventually(lambda: served.kubectl(*status), what="quota that is in force")
        installed.apply(image_model("plain", replicas=1), image_model("fetched", replicas=1, parameters=FETCHED))
        served.wait_for_condition("fetched", "Ready", "QuotaExceeded")
        served.kubectl("delete", "resourcequota/no-pods")
        served.wait_for_children("plain")
        eventually(lambda: served.items("Job"), what="Job of the fetcher")
        eventually(lambda: served.items("PersistentVolumeClaim"), what="claim")
        served.kubectl("delete", "service", naming.child_name("plain"))
        served.wait_for_children("plain")
        served.patch("Deployment", naming.child_name("plain"), {"spec": {"replicas": 3}})
        served.wait_until_settled("plain")
        installed.apply(image_model("idle", replicas=0, scaling={"min": 0, "idleSeconds": 1}))
        served.wait_for_children("idle")
        eventually(lambda: _ask(gateway.url, "idle").status_code == 503, what="wake that is given up")
        eventually(lambda: installed.replicas("idle") == 0, what="sleep")
        for name in ("plain", "fetched"):
            served.patch("ImageModel", name, {"spec": {"alias": "idle", "parameters": None}})
        kinds = ("Service", "Deployment", "Job", "PersistentVolumeClaim")
        eventually(lambda: not any(served.child(kind, "plain") for kind in kinds), what="end of the children")
        eventually(lambda: not served.items("Job") and not served.items("PersistentVolumeClaim"), what="end of the Job")
        served.kubectl("delete", "imagemodels", "--all")


def make_the_first_key(installed: Installed) -> None:
    secrets = ("--secret", "heliograph-first-key", "--digest-secret", "heliograph-gateway-keys")
    command = [sys.executable, "-m", "heliograph", "keys", "first", "--namespace", AUDITED, *secrets]
    environment = os.environ | {"KUBECONFIG": str(installed.kubeconfig("first-key"))}
    subprocess.run(command, check=True, timeout=120, env=environment)


def _ask(url: str, model: str) -> httpx.Response:
    body = {"model": model, "prompt": "a circle"}
    return httpx.post(f"{url}/v1/images/generations", json=body, timeout=60, trust_env=False)


def granted(helm: Callable[..., str], part: str) -> set[Right]:
    rendered = helm("template", "heliograph", CHART, "--namespace", AUDITED, *OPTIONS)
    objects = [item for item in yaml.safe_load_all(rendered) if item]
    bound = {
        item["roleRef"]["name"]
        for item in objects
        if item["kind"] == "RoleBinding" and any(s["name"] == f"heliograph-{part}" for s in item["subjects"])
    }
    roles = [item for item in objects if item["kind"] == "Role" and item["metadata"]["name"] in bound]
    return {right for role in roles for rule in role["rules"] for right in _rights(rule)}


def _rights(rule: dict[str, Any]) -> Iterator[Right]:
    for group in rule["apiGroups"]:
        for resource in rule["resources"]:
            name, slash, subresource = resource.partition("/")
            for verb in rule["verbs"]:
                yield ".".join(filter(None, (name, group))) + slash + subresource, verb


@pytest.mark.parametrize("part", PARTS)
def test_a_part_has_the_rights_that_it_uses_and_no_others(
    helm: Callable[..., str], used: dict[str, set[Right]], part: str
) -> None:
    assert used[part] == granted(helm, part) - NEVER_A_REQUEST
