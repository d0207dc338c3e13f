"""Rollouts that find no room: new pods that cannot be placed while the old ones hold what they need."""

from collections.abc import Sequence
from typing import Protocol

from heliograph_api.load import GatewayLoad
from heliograph_operator.diagnosis.trouble import Trouble
from heliograph_operator.observation import Rollout

IDLE_SECONDS = 10.0
"""Without a request, after which nobody is likely to miss a replica for the time that its successor takes."""

_NO_ROOM = frozenset(
    {
        *("NoGpuFree", "InsufficientMemory", "InsufficientCpu", "InsufficientResource"),
        *("QuotaExceeded", "CacheNotShareable", "VolumeInUse"),
    }
)
"""Troubles of a new pod that the end of an old one may mend."""


class AsksLoad(Protocol):
    """Who knows the load."""

    async def read(self) -> list[GatewayLoad | None]:
        """Return what each gateway says, None for one that does not say it."""


def is_blocked(rollout: Rollout | None, found: Trouble | None) -> bool:
    """Return whether old pods serve on because there is no room for new ones beside them.

    Args:
        rollout: The state of the Deployment.
        found: What keeps the newest pods from getting ready.
    """
    if rollout is None or not rollout.is_current or not lacks_room(rollout, found):
        return False
    return rollout.ready > 0 and not makes_way(rollout, found)


def makes_way(rollout: Rollout | None, found: Trouble | None) -> bool:
    """Return whether an old pod that answers no request holds what a new one needs, so that nobody misses it.

    Nothing else ends it: for a Deployment that may have no replica less than it wants, a new pod that waits counts as
    that one. It takes one less where one may be missing, and then those first that are not ready.

    Args:
        rollout: The state of the Deployment.
        found: What keeps the newest pods from getting ready.
    """
    return rollout is not None and lacks_room(rollout, found) and rollout.ready < rollout.replicas - rollout.updated


def lacks_room(rollout: Rollout, found: Trouble | None) -> bool:
    """Return whether there are old pods whose end may mend what keeps new ones from getting ready."""
    return found is not None and found.reason in _NO_ROOM and rollout.replicas > rollout.updated


def is_idle(key: str, gateways: Sequence[GatewayLoad | None]) -> bool:
    """Return whether no gateway has had a request for a model for a while; one that cannot be asked may have.

    Args:
        key: `namespace/name` of the model.
        gateways: What each gateway says.
    """
    return bool(gateways) and all(
        gateway is not None and _idle_seconds(key, gateway) >= IDLE_SECONDS for gateway in gateways
    )


def _idle_seconds(key: str, gateway: GatewayLoad) -> float:
    entry = gateway.models.get(key)
    return gateway.uptime_seconds if entry is None else entry.idle_seconds
