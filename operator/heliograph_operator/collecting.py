"""Removes what models leave in the claim that they share: folders by a Job, and with the last model the claim itself.

The claim names each model's folders until they are removed, so that a collection that was interrupted, by whatever, is
begun anew. A folder is one model's alone, and each model is worked on at one place at a time: nobody else begins to use
a folder while it is looked at. A model that wants a folder back waits until the Job that may be removing it is gone.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

from heliograph_api import naming
from heliograph_operator.fetching import has_succeeded, mounts
from heliograph_operator.inventory import Key
from heliograph_operator.kube import ConflictError, KubeApi, NotFoundError
from heliograph_operator.metrics import Metrics
from heliograph_operator.objects import is_over
from heliograph_operator.observation import Rollout
from heliograph_operator.ownership import controller_of
from heliograph_operator.plan.claim import Share, at_present_size, is_last, left_part, with_folders
from heliograph_operator.plan.collection import JOB_SUFFIX, job_name, plan_collect_job, plan_collector_network_policy
from heliograph_operator.resources import DEPLOYMENTS, JOBS, NETWORK_POLICIES, PODS, Object
from heliograph_operator.settings import OperatorSettings
from heliograph_operator.sharing import SharedClaims

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 10.0
"""Between two looks at what still uses a folder: no event tells that a pod is gone."""


class Collector:
    """Collects in the shared claims of all namespaces."""

    def __init__(self, *, kube: KubeApi, settings: OperatorSettings, metrics: Metrics, shared: SharedClaims) -> None:
        """Read and write through `kube`, and claims through `shared`."""
        self._kube = kube
        self._settings = settings
        self._metrics = metrics
        self._shared = shared

    async def stop(self, children: Iterable[Object], folder: str) -> bool:
        """Delete the Job that removes a folder; return whether it is there still, or pods of it are.

        Args:
            children: What bears the labels of the model's children.
            folder: The folder, which the model wants.
        """
        named = (it for it in children if it["kind"] == JOBS.kind and it["metadata"]["name"] == job_name(folder))
        job = next(named, None)
        if job is None:
            return False
        if not job["metadata"].get("deletionTimestamp"):
            await self._delete(job, foreground=True)
        return True

    async def collect(self, key: Key, *, part: Object | None = None, needed: str | None = None) -> float | None:
        """Have removed what a model has in the shared claim and does not need.

        Args:
            key: The model, which may be gone.
            part: Its part of the claim; None when it does not use it any more.
            needed: Folder of its present weights in that claim, there or not; the one that its part says is fetched is
                needed too.

        Returns:
            Seconds after which to look again; None for what events tell.
        """
        claim = await self._shared.find(key.namespace)
        share = Share.read(claim, key.name) if claim is not None else None
        if claim is None or share is None:
            return None
        own = Share.read(part, key.name) if part is not None else None
        kept = {needed, own.fetched.folder if own and own.fetched else None}
        unwanted = share.folders - kept
        if part is not None and not unwanted:
            return None
        # Of a model that gives the claim up, whatever pods have of it, noted or not.
        if await self._are_used(key, claim, unwanted if part is not None else None):
            return _LOOK_SECONDS
        if part is None and is_last(claim, key.name):
            await self._shared.delete(claim)
            return None
        if part is None and _has_use(claim, key.name, share):
            # Before anything of it goes: nobody shall take the weights for whole.
            claim = await self._shared.apply(key.name, left_part(claim, key.name, share.folders))
        done = {folder: job for folder in unwanted if (job := await self._job_done(key, claim, folder))}
        if done:
            left = share.folders - done.keys()
            if part is None:
                rest = left_part(claim, key.name, left)
            else:  # whether it can grow is for `SharedClaims.settle` to find out
                rest = at_present_size(with_folders(part, key.name, left), claim)
            claim = await self._shared.apply(key.name, rest)
        for job in done.values():
            # Its pods, though they have ended, would keep a claim that is going.
            await self._delete(job)
        if part is None and is_last(claim, key.name):
            # Another was there when this began, and gave it up in the same moment: nobody comes back to it.
            await self._shared.delete(claim)
        return None

    async def _job_done(self, key: Key, claim: Object, folder: str) -> Object | None:
        """Return the Job that has removed a folder, if it has; make it unless it is there."""
        try:
            job = await self._kube.get(JOBS, key.namespace, job_name(folder))
        except NotFoundError:
            await self._remove(key, claim, folder)
            return None
        controller = controller_of(job) or {}
        return job if controller.get("uid") == claim["metadata"]["uid"] and has_succeeded(job) else None

    async def _remove(self, key: Key, claim: Object, folder: str) -> None:
        logger.info("%s: removing %s, which %s left, from %s", key.namespace, folder, key.name, _name(claim))
        job = plan_collect_job(claim=claim, name=key.name, folder=folder, settings=self._settings)
        self._metrics.wrote(NETWORK_POLICIES.kind, "apply")
        await self._kube.apply(NETWORK_POLICIES, plan_collector_network_policy(claim=claim))
        self._metrics.wrote(JOBS.kind, "apply")
        await self._kube.apply(JOBS, job, force=False)

    async def _delete(self, job: Object, *, foreground: bool = False) -> None:
        logger.info("%s: deleting Job %s", job["metadata"]["namespace"], job["metadata"]["name"])
        self._metrics.wrote(JOBS.kind, "delete")
        # Gone, or another object by now: then there is nothing left to delete.
        with suppress(NotFoundError, ConflictError):
            await self._kube.delete(JOBS, job, foreground=foreground)

    async def _are_used(self, key: Key, claim: Object, folders: Collection[str] | None) -> bool:
        """Return whether anything of a model's reads or writes some folders, or any of all (None), or may come to."""
        labels = {naming.MANAGED_BY_LABEL: naming.MANAGED_BY, naming.MODEL_LABEL: naming.child_name(key.name)}
        kinds = (DEPLOYMENTS, JOBS, PODS)
        found = await asyncio.gather(*(self._kube.list(kind, key.namespace, labels=labels) for kind in kinds))
        deployments, jobs, pods = found
        if not all(Rollout.of(deployment).is_complete for deployment in deployments):
            return True  # a pod of before may yet be started anew
        fetching = [job for job in jobs if not job["metadata"]["name"].endswith(JOB_SUFFIX)]
        specs = [it["spec"]["template"]["spec"] for it in (*deployments, *fetching)]
        specs += [pod["spec"] for pod in pods if not is_over(pod)]
        return any(_uses(spec, _name(claim), folders) for spec in specs)


def _uses(pod: Mapping[str, Any], claim: str, folders: Collection[str] | None) -> bool:
    """Return whether a pod's spec mounts one of some folders of a claim, or of all (None), or fetches it."""
    volumes = mounts(pod, claim)
    return any(
        mount["name"] in volumes and (folders is None or _names(container, mount, folders))
        for container in pod["containers"]
        for mount in container.get("volumeMounts") or ()
    )


def _names(container: Mapping[str, Any], mount: Mapping[str, Any], folders: Collection[str]) -> bool:
    """Return whether a container mounts one of some folders, or is told of it beside the whole volume."""
    told = container.get("args") or ()
    return any(mount.get("subPath") == f"models/{folder}" or folder in told for folder in folders)


def _has_use(claim: Object, name: str, share: Share) -> bool:
    owners = claim["metadata"].get("ownerReferences") or ()
    return share.fetched is not None or any(owner["name"] == name for owner in owners)


def _name(claim: Object) -> str:
    name: str = claim["metadata"]["name"]
    return name
