"""What the autoscaler remembers of a model's load.

It can only delay that a model shrinks: an operator that starts anew knows nothing, and then waits for as long as if
there had been a request just now.
"""

from collections import deque
from collections.abc import Sequence

from heliograph_api.load import GatewayLoad
from heliograph_operator.autoscale.decision import Demand
from heliograph_operator.autoscale.subject import Subject


class History:
    """The load of one model over the past minutes."""

    def __init__(self, subject: Subject, *, now: float, window: float) -> None:
        """Begin to watch a model.

        Args:
            subject: The model.
            now: Seconds on a monotonic clock.
            window: Seconds for which a load is remembered.
        """
        self._window = window
        self._last_busy = now
        # Until the window is full, nobody knows whether the replicas that are there were needed.
        self._loads = deque([(now, subject.replicas * subject.scaling.requests_per_replica)])

    def demand(self, key: str, subject: Subject, gateways: Sequence[GatewayLoad | None], *, now: float) -> Demand:
        """Take in what the gateways say, and return the demand.

        Args:
            key: `namespace/name` of the model.
            subject: The model.
            gateways: What each gateway says; None for one that could not be asked.
            now: Seconds on a monotonic clock, after they said it.
        """
        asked = [gateway for gateway in gateways if gateway is not None]
        loads = [gateway.models.get(key) for gateway in asked]
        load = sum(entry.outstanding + entry.queued for entry in loads if entry)
        is_complete = bool(gateways) and len(asked) == len(gateways)
        if load or subject.starting or not is_complete:
            self._last_busy = now
        for gateway, entry in zip(asked, loads, strict=True):
            idle = entry.idle_seconds if entry else gateway.uptime_seconds
            self._last_busy = max(self._last_busy, now - idle)
        idle_seconds = now - self._last_busy
        if idle_seconds >= subject.scaling.idle_after:
            # A model that is woken later starts small.
            self._loads.clear()
        return Demand(
            load=load,
            idle_seconds=idle_seconds,
            recent_load=self._recent(load, now),
            is_complete=is_complete,
        )

    def _recent(self, load: int, now: float) -> int:
        # A smaller load that came before a greater one will never again be the greatest.
        while self._loads and self._loads[-1][1] <= load:
            self._loads.pop()
        self._loads.append((now, load))
        while self._loads[0][0] < now - self._window:
            self._loads.popleft()
        return self._loads[0][1]
