"""Leader election by a Lease, for more than one replica, as client-go does it.

A leader may be wrong about still being one for a moment; that is harmless, since server-side apply of the same plan by
two operators ends in the same state.
"""

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from heliograph_operator.kube import KubeClient, KubeError, NotFoundError
from heliograph_operator.resources import LEASES, Object

logger = logging.getLogger(__name__)


class Lease:
    """One replica's claim to lead."""

    def __init__(self, *, kube: KubeClient, namespace: str, name: str, seconds: int) -> None:
        """Claim the Lease `name` in `namespace`; it may be taken over when it was not renewed for `seconds`."""
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._seconds = seconds
        # The proportions are client-go's: 15 s to the end, 10 s to renew in, 2 s between attempts.
        self._renewal = seconds * 2 / 3
        self._retry = seconds * 2 / 15
        self._identity = f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"
        self._seen_version = ""
        self._seen_at = 0.0

    async def hold(self, on_leading: Callable[[], None]) -> None:
        """Wait until the Lease is ours, call `on_leading`, and return when it is lost."""
        while (until := await self._claim(self._renewal)) is None:  # noqa: ASYNC110 - what is waited for is elsewhere
            await asyncio.sleep(self._retry)
        logger.info("This replica leads as %s", self._identity)
        on_leading()
        loop = asyncio.get_running_loop()
        while (left := until - loop.time()) > 0:
            await asyncio.sleep(min(self._retry, left))
            # An attempt that took longer could end when somebody else leads already.
            until = await self._claim(until - loop.time()) or until
        logger.error("The Lease %s/%s could not be renewed in time", self._namespace, self._name)

    async def _claim(self, seconds: float) -> float | None:
        """Take or renew the Lease within so many seconds; return until when to lead by it, None where it is not ours.

        That counts from the beginning: the API server may have written it long before it answers.
        """
        until = asyncio.get_running_loop().time() + self._renewal
        try:
            async with asyncio.timeout(seconds):
                return until if await self._take() else None
        except (KubeError, TimeoutError) as error:
            logger.warning("The Lease %s/%s: %s", self._namespace, self._name, str(error) or "no answer in time")
            return None

    async def _take(self) -> bool:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        try:
            lease = await self._kube.get(LEASES, self._namespace, self._name)
        except NotFoundError:
            await self._kube.create(LEASES, self._new_lease(now))
            return True
        spec = lease["spec"] = lease.get("spec") or {}
        if spec.get("holderIdentity") != self._identity:
            if spec.get("holderIdentity") and not self._has_expired(lease):
                return False
            spec |= {"acquireTime": now, "leaseTransitions": spec.get("leaseTransitions", 0) + 1}
        spec |= {"holderIdentity": self._identity, "renewTime": now, "leaseDurationSeconds": self._seconds}
        await self._kube.replace(LEASES, lease)
        return True

    def _has_expired(self, lease: Object) -> bool:
        """Return whether the Lease stayed the same for its whole duration, by this machine's clock alone."""
        now = asyncio.get_running_loop().time()
        if lease["metadata"]["resourceVersion"] != self._seen_version:
            self._seen_version, self._seen_at = lease["metadata"]["resourceVersion"], now
        duration: int = lease["spec"].get("leaseDurationSeconds", self._seconds)
        return now - self._seen_at > duration

    def _new_lease(self, now: str) -> Object:
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": self._seconds,
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 0,
            },
        }
