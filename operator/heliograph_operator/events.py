"""kopf as the source of events: whatever happens to an ImageModel or to a child adds the ImageModel's key to the queue.

kopf's handlers for creation, update and deletion are not used: they keep their state in annotations and finalizers of
the user's objects. Event handlers write nothing.
"""

import itertools
import random
from collections.abc import Iterator, Mapping
from typing import Any

import kopf

from heliograph_api import naming
from heliograph_operator.autoscale.rivals import deployment_target_of, target_of
from heliograph_operator.inventory import Inventory, Key, key_of
from heliograph_operator.objects import condition_of
from heliograph_operator.ownership import controller_of, is_image_model
from heliograph_operator.plan.claim import is_shared, sharers
from heliograph_operator.plan.collection import MODEL_ANNOTATION
from heliograph_operator.resources import CHILD_RESOURCES, CLAIMS, HORIZONTAL_POD_AUTOSCALERS, IMAGE_MODELS, PODS
from heliograph_operator.workqueue import WorkQueue

_SELECTOR = f"{naming.MANAGED_BY_LABEL}={naming.MANAGED_BY}"
_EXIT_SECONDS = 20.0
_LOGIN_BACKOFF = 1.0
"""Seconds until credentials are read again that could not be read, such as a file that was just being written."""
_BACKOFFS = (1.0, 1.0, 2.0, 4.0, 8.0, 16.0)
_LAST_BACKOFF = 30.0
_POD_SECONDS = 1.0
"""Until a pod's model is reconciled: a pod that is made, placed and started changes several times in a row."""


def build_registry(*, queue: WorkQueue[Key], inventory: Inventory) -> kopf.OperatorRegistry:
    """Return kopf's handlers."""
    registry = kopf.OperatorRegistry()
    for login in (kopf.login_with_service_account, kopf.login_with_kubeconfig):
        kopf.on.login(registry=registry, backoff=_LOGIN_BACKOFF)(login)

    async def on_model(body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002 - kopf's name
        add_model(dict(body), deleted=type == "DELETED", queue=queue, inventory=inventory)

    async def on_child(body: kopf.Body, **_: Any) -> None:
        add_owner(body, queue=queue, inventory=inventory)

    async def on_claim(body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002 - kopf's name
        if is_shared(body):
            add_sharers(body, deleted=type == "DELETED", queue=queue, inventory=inventory)

    async def on_pod(body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002 - kopf's name
        if type != "DELETED":
            add_model_of_pod(body, queue=queue, inventory=inventory)

    async def on_rival(body: kopf.Body, **_: Any) -> None:
        add_scaled(body, queue=queue, inventory=inventory)

    kopf.on.event(IMAGE_MODELS.api_version, IMAGE_MODELS.plural, registry=registry, id="model")(on_model)
    for child in CHILD_RESOURCES:
        kopf.on.event(child.api_version, child.plural, registry=registry, id=child.plural)(on_child)
    kopf.on.event(CLAIMS.api_version, CLAIMS.plural, registry=registry, id="shared")(on_claim)
    kopf.on.event(PODS.api_version, PODS.plural, registry=registry, id="pods")(on_pod)
    rivals = HORIZONTAL_POD_AUTOSCALERS
    kopf.on.event(rivals.api_version, rivals.plural, registry=registry, id=rivals.plural)(on_rival)
    return registry


def build_settings(*, request_timeout: float) -> kopf.OperatorSettings:
    """Return kopf's settings; its defaults assume more rights, and give up on an API server that is away."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    # Neither CustomResourceDefinitions nor namespaces may be listed.
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.networking.request_timeout = request_timeout
    settings.networking.error_backoffs = _Backoffs()
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.chunk_size = 500
    for child in (*CHILD_RESOURCES, PODS):
        settings.watching.label_selectors[child.api_version, child.plural] = _SELECTOR
    settings.process.ultimate_exiting_timeout = _EXIT_SECONDS
    return settings


def add_model(obj: dict[str, Any], *, deleted: bool, queue: WorkQueue[Key], inventory: Inventory) -> None:
    """Have an ImageModel reconciled, and with it the aliases that may point to it."""
    key = key_of(obj)
    is_new = not deleted and inventory.has_new_spec(obj)
    is_known = not deleted and inventory.is_own_write(obj)
    if deleted:
        # A reconciliation may have found it gone, and forgotten it, before this event came; no alias was told then.
        inventory.forget(key)
    concerns_aliases = deleted or inventory.see(obj)
    if not is_known:
        # Somebody waits for what an edit brings about, and nobody for what a listing finds unchanged.
        queue.add(key, urgent=is_new)
    if concerns_aliases:
        for alias in inventory.aliases():
            queue.add(alias)


def add_owner(obj: Mapping[str, Any], *, queue: WorkQueue[Key], inventory: Inventory) -> None:
    """Have the ImageModel of a child reconciled."""
    metadata = obj["metadata"]
    controller = controller_of(obj)
    if controller is not None:
        if is_image_model(controller):
            queue.add(Key(metadata["namespace"], controller["name"]))
        # A shared claim controls the Job that removes what a model left in it, which may be gone itself.
        elif name := (metadata.get("annotations") or {}).get(MODEL_ANNOTATION):
            queue.add(Key(metadata["namespace"], name))
        return
    # Its owner reference was taken away; the label still tells.
    key = _key_by_label(metadata, inventory)
    if key is not None:
        queue.add(key)


def add_sharers(obj: Mapping[str, Any], *, deleted: bool, queue: WorkQueue[Key], inventory: Inventory) -> None:
    """Have those ImageModels reconciled that a claim concerns which models share."""
    for key in inventory.see_sharers(obj["metadata"]["namespace"], () if deleted else sharers(obj)):
        queue.add(key)


def add_model_of_pod(obj: Mapping[str, Any], *, queue: WorkQueue[Key], inventory: Inventory) -> None:
    """Have the ImageModel of a pod reconciled soon, unless the pod is going or ready: its Deployment tells that too."""
    is_ready = condition_of(obj, "Ready", status="True") is not None
    if not is_ready and not obj["metadata"].get("deletionTimestamp"):
        # A ReplicaSet or a Job controls it; the label tells whose they are.
        key = _key_by_label(obj["metadata"], inventory)
        if key is not None:
            queue.add_after(key, _POD_SECONDS)


def add_scaled(obj: Mapping[str, Any], *, queue: WorkQueue[Key], inventory: Inventory) -> None:
    """Have the ImageModel reconciled that a HorizontalPodAutoscaler scales, or whose Deployment it does."""
    key, deployment = target_of(obj), deployment_target_of(obj)
    if deployment is not None:
        key = inventory.owner_of_child(*deployment)
    if key is not None:
        queue.add(key)


def _key_by_label(metadata: Mapping[str, Any], inventory: Inventory) -> Key | None:
    label = (metadata.get("labels") or {}).get(naming.MODEL_LABEL, "")
    return inventory.owner_of_child(metadata["namespace"], label)


class _Backoffs:
    """Seconds between attempts, without end; every request iterates anew."""

    def __iter__(self) -> Iterator[float]:
        delays = itertools.chain(_BACKOFFS, itertools.repeat(_LAST_BACKOFF))
        return (delay * (1 + random.random()) / 2 for delay in delays)  # noqa: S311 - jitter, no secret
