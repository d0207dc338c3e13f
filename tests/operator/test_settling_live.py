"""What is read of children is not written onto others that took their place, nor over what others changed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_operator.drift import with_plan_hash
from heliograph_operator.kube import ConflictError, KubeClient, connect
from heliograph_operator.metrics import Metrics
from heliograph_operator.plan.claim import Share, plan_claim, plan_shared_claim
from heliograph_operator.plan.fetched import Fetched
from heliograph_operator.plan.metadata import new_child
from heliograph_operator.resources import CLAIMS, DEPLOYMENTS, Object
from heliograph_operator.settings import OperatorSettings
from heliograph_operator.settling import Settled, Settler
from heliograph_operator.sharing import SharedClaims
from operator_rig import MODEL, Served
from scaling.awaiting import until

SETTINGS = OperatorSettings()
RECORD = Fetched(folder=f"{naming.child_name('dream')}-01234567")


def play(
    served: Served, monkeypatch: pytest.MonkeyPatch, scene: Callable[[KubeClient, Object, ImageModel], Awaitable[None]]
) -> None:
    """Play a scene as the operator, with an ImageModel that nothing else looks after."""
    served.apply("dream", MODEL)
    obj = served.get("ImageModel", "dream") or {}
    monkeypatch.setenv("KUBECONFIG", str(served.kubeconfig))

    async def connected() -> None:
        async with connect(request_timeout=30) as api:
            await scene(api, obj, ImageModel.from_object(obj))

    asyncio.run(connected())


def settler(api: KubeClient) -> Settler:
    metrics = Metrics()
    shared = SharedClaims(kube=api, settings=SETTINGS, metrics=metrics)
    return Settler(kube=api, metrics=metrics, shared=shared, is_due=lambda _: False)


async def lose(served: Served, api: KubeClient, claim: Object) -> None:
    """Delete a claim, and wait until it is gone."""
    await api.delete(CLAIMS, claim)
    await until(lambda: present(served, claim) is None, what="end of the claim")


def present(served: Served, claim: Object) -> Object | None:
    return served.get("PersistentVolumeClaim", claim["metadata"]["name"])


def test_a_record_of_a_shared_claim_is_in_no_other(unserved: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(api: KubeClient, obj: Object, model: ImageModel) -> None:
        shared = SharedClaims(kube=api, settings=SETTINGS, metrics=Metrics())
        empty = plan_shared_claim(model=model, settings=SETTINGS, share=Share())
        await shared.settle(model, empty)
        _, claim = await shared.read(model)
        assert claim is not None
        recorded = plan_shared_claim(model=model, settings=SETTINGS, share=Share(RECORD), present=claim)
        await lose(unserved, api, claim)
        with pytest.raises(ConflictError):
            await shared.settle(model, recorded)
        assert present(unserved, claim) is None
        await shared.settle(model, empty)
        with pytest.raises(ConflictError):
            await shared.settle(model, recorded)
        share, another = await shared.read(model)
        assert (another is not None, share) == (True, Share())

    play(unserved, monkeypatch, scene)


def test_a_record_of_a_models_claim_is_in_no_other(unserved: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(api: KubeClient, obj: Object, model: ImageModel) -> None:
        claim = await api.apply(CLAIMS, with_plan_hash(plan_claim(model=model, settings=SETTINGS, fetched=None)))
        recorded = with_plan_hash(plan_claim(model=model, settings=SETTINGS, fetched=RECORD, present=claim))
        await lose(unserved, api, claim)
        with pytest.raises(ConflictError):
            await settler(api).settle(obj, [recorded], [claim], Settled())
        assert present(unserved, claim) is None

    play(unserved, monkeypatch, scene)


def test_a_new_size_sets_nothing_back(unserved: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(api: KubeClient, obj: Object, model: ImageModel) -> None:
        pods: dict[str, Any] = {
            "metadata": {"labels": naming.child_labels("dream")},
            "spec": {"containers": [{"name": "runtime", "image": "none"}]},
        }
        spec = {"replicas": 0, "selector": {"matchLabels": naming.child_labels("dream")}, "template": pods}
        made = await api.apply(DEPLOYMENTS, {**new_child(resource=DEPLOYMENTS, model=model), "spec": spec})
        restarted = {"spec": {"template": {"metadata": {"annotations": {"restarted": "now"}}}}}
        unserved.patch("Deployment", made["metadata"]["name"], restarted)
        with pytest.raises(ConflictError):
            await settler(api).resize(made, Settled(), replicas=1)

        async def resized() -> bool:
            read = unserved.child("Deployment", "dream") or {}
            try:
                written = await settler(api).resize(read, Settled(), replicas=1)
            except ConflictError:
                return False  # its controller wrote its status meanwhile
            assert written["spec"] == {**read["spec"], "replicas": 1}
            assert written["spec"]["template"]["metadata"]["annotations"] == {"restarted": "now"}
            return True

        await until(resized, what="new size")

    play(unserved, monkeypatch, scene)
