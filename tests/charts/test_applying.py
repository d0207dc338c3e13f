"""The chart, changed on a real API server in the ways in which releases are: by helm, and by server-side apply."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from charts.variants import CHARTS, VARIANTS, Render
from cluster.control_plane import ControlPlane

Change = Callable[..., None]
"""Brings the release `heliograph` of the test's namespace to the chart with the given options of helm."""
ROLLING = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
RECREATED = {"type": "Recreate"}


def by_helm(cluster: ControlPlane, namespace: str, helm: Callable[..., str], home: Path) -> Change:
    """helm 3, which works out a patch from what it applied last and what is there."""
    place = ("--namespace", namespace, "--kubeconfig", str(cluster.kubeconfig()))
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin"}

    def change(*options: str) -> None:
        given = ("--reset-values", *options, *place)
        helm("upgrade", "--install", "heliograph", CHARTS / "heliograph", *given, env=environment)

    return change


def by_server_side_apply(cluster: ControlPlane, namespace: str, render: Render) -> Change:
    """Argo CD, Flux and helm 4: the API server merges, by what each manager applied last."""

    def change(*options: str) -> None:
        # Hooks are none of their business, as `helm test` is not.
        objects = render("heliograph", "--no-hooks", *options, namespace=namespace)
        bundle = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        cluster.kubectl("apply", "--server-side", "--filename", "-", input=bundle)

    return change


@pytest.fixture(params=["helm", "server-side"])
def change(request: pytest.FixtureRequest, cluster: ControlPlane, namespace: str) -> Change:
    if request.param == "helm":
        home = request.getfixturevalue("tmp_path")
        return by_helm(cluster, namespace, request.getfixturevalue("helm"), home)
    return by_server_side_apply(cluster, namespace, request.getfixturevalue("render"))


def found(cluster: ControlPlane, namespace: str, what: str) -> dict[str, Any]:
    text = cluster.kubectl("get", what, "--namespace", namespace, "--output", "json").stdout
    value: dict[str, Any] = json.loads(text)
    return value


def test_a_claim_can_be_named_later_and_given_up(cluster: ControlPlane, namespace: str, change: Change) -> None:
    def strategy() -> object:
        return found(cluster, namespace, "deployment/heliograph-gateway")["spec"]["strategy"]

    for variant, wanted in (("default", ROLLING), ("claim", RECREATED), ("sharedClaim", ROLLING), ("claim", RECREATED)):
        change(*VARIANTS[variant])
        assert strategy() == wanted


def test_the_operator_can_become_several_and_one_again(cluster: ControlPlane, namespace: str, change: Change) -> None:
    for replicas, wanted in ((1, RECREATED), (2, ROLLING), (1, RECREATED)):
        change("--set", f"operator.replicas={replicas}")
        spec = found(cluster, namespace, "deployment/heliograph-operator")["spec"]
        assert (spec["replicas"], spec["strategy"]) == (replicas, wanted)


@pytest.mark.parametrize("variant", ["autoscaled", "exposed", "placed"])
def test_values_can_be_set_later_and_taken_back(variant: str, change: Change) -> None:
    for name in ("default", variant, "default"):
        change(*VARIANTS[name])
