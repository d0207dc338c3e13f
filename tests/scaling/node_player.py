"""A node's part in scaling: pods that come and go with the replicas of each ImageModel, and answer over HTTP.

The operator's part that has to do with it, the status, is played along. A pod is one listener of this process, and has
an EndpointSlice of its own, which says what a kubelet and the EndpointSlice controller would: that it is ready, that it
is about to end, and that it is gone. One that ends finishes the requests that it has, and takes no more.
"""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster.addresses import routable_address
from gateway.async_peer import Asked, AsyncPeer, Told
from heliograph_api import naming
from heliograph_api.errors import QUEUE_FULL, APIError
from heliograph_operator.kube import ConflictError, KubeClient
from heliograph_operator.resources import ENDPOINT_SLICES, IMAGE_MODELS, Object

FAREWELL_SECONDS = 1.0
"""Between the news that a pod is going and the end of its listener, as a preStop hook has it."""


class Pod:
    """One replica: a listener that answers each request with the name of its model."""

    def __init__(self, model: str, *, work: Callable[[], float], room: int) -> None:
        """Make a pod; `work` returns the seconds that a request takes, of which it refuses more than `room` at once."""
        self._model = model
        self._work = work
        self._room = room
        self.refused = 0
        self._peer = AsyncPeer(self._answer)

    async def start(self) -> int:
        """Listen, and return the port."""
        return await self._peer.start(routable_address())

    def stop(self) -> None:
        """Take no more requests; those at work are finished."""
        self._peer.stop()

    async def aclose(self) -> None:
        """End it with the requests that it works on."""
        await self._peer.aclose()

    async def _answer(self, _asked: Asked) -> Told:
        if not self._room:
            self.refused += 1
            refusal = APIError(429, "Too many requests are at work or waiting.", code=QUEUE_FULL)
            return refusal.status, refusal.body()
        self._room -= 1
        try:
            await asyncio.sleep(self._work())
        finally:
            self._room += 1
        return 200, {"created": 1, "data": [{"b64_json": "AAAA"}], "output_format": "png", "by": self._model}


@dataclass
class _Played:
    obj: Object
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    pods: list[tuple[Pod, Object]] = field(default_factory=list)


class NodePlayer:
    """Plays the pods of every ImageModel that it hears of, as the handler of an informer.

    Attributes:
        wakes: How often each model went from no replicas to some.
        least: Fewest replicas that each model was ever seen with.
    """

    def __init__(
        self,
        kube: KubeClient,
        *,
        start: tuple[float, float] = (0.0, 0.15),
        work: tuple[float, float] = (0.0, 0.2),
        room: int = 64,
        seed: int = 1,
    ) -> None:
        """Play nothing yet.

        Args:
            kube: Where EndpointSlices and status are written.
            start: Shortest and longest time in seconds that a pod takes to get ready.
            work: Shortest and longest time in seconds that a request takes.
            room: Requests that a pod takes at once; it refuses more.
            seed: Seed of the times.
        """
        self.wakes: Counter[str] = Counter()
        self.least: dict[str, int] = {}
        self._kube = kube
        self._start_seconds = start
        self._work_seconds = work
        self._room = room
        self._rng = random.Random(seed)
        self._played: dict[str, _Played] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: set[Pod] = set()
        self._started: list[Pod] = []
        self._numbers = itertools.count()

    def changed(self, obj: Mapping[str, Any]) -> None:
        """Take in an ImageModel."""
        name, size = obj["metadata"]["name"], obj["spec"]["serving"]["replicas"]
        self.least[name] = min(size, self.least.get(name, size))
        played = self._played.get(name)
        if played is None:
            played = self._played[name] = _Played(dict(obj))
            self._spawn(self._play(name))
        elif size and not played.obj["spec"]["serving"]["replicas"]:
            self.wakes[name] += 1
        played.obj = dict(obj)
        played.changed.set()

    def deleted(self, namespace: str, name: str) -> None:
        """Nothing is deleted while this plays."""

    def refused(self) -> int:
        """Return how many requests the present pods have refused."""
        return sum(pod.refused for pod in self._listening)

    def sizes(self) -> dict[str, int]:
        """Return how many replicas each model wants."""
        return {name: played.obj["spec"]["serving"]["replicas"] for name, played in self._played.items()}

    async def aclose(self) -> None:
        """End everything; an error of a part of the play is raised here."""
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for pod in self._started:
            await pod.aclose()
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)

    async def _play(self, name: str) -> None:
        played = self._played[name]
        while True:
            await played.changed.wait()
            played.changed.clear()
            while len(played.pods) != (size := played.obj["spec"]["serving"]["replicas"]):
                if len(played.pods) < size:
                    await asyncio.sleep(self._rng.uniform(*self._start_seconds))
                    if played.obj["spec"]["serving"]["replicas"] > len(played.pods):
                        await self._start(played)
                else:
                    await self._end(played)
            await self._report(played)

    async def _start(self, played: _Played) -> None:
        metadata = played.obj["metadata"]
        pod = Pod(metadata["name"], work=lambda: self._rng.uniform(*self._work_seconds), room=self._room)
        self._listening.add(pod)
        self._started.append(pod)
        slice_ = _slice(metadata, next(self._numbers), await pod.start())
        await self._kube.create(ENDPOINT_SLICES, slice_)
        played.pods.append((pod, slice_))

    async def _end(self, played: _Played) -> None:
        pod, slice_ = played.pods.pop()
        going = {**slice_, "endpoints": [{**slice_["endpoints"][0], "conditions": _GOING}]}
        await self._kube.apply(ENDPOINT_SLICES, going)
        self._spawn(self._farewell(pod, going))

    async def _farewell(self, pod: Pod, slice_: Object) -> None:
        await asyncio.sleep(FAREWELL_SECONDS)
        self._listening.remove(pod)
        pod.stop()
        present = await self._kube.get(ENDPOINT_SLICES, slice_["metadata"]["namespace"], slice_["metadata"]["name"])
        await self._kube.delete(ENDPOINT_SLICES, present)

    async def _report(self, played: _Played) -> None:
        """Write the status that the operator would; others only ever write /scale, which this must not depend on."""
        generation, ready = played.obj["metadata"]["generation"], len(played.pods)
        present = await self._kube.get(
            IMAGE_MODELS, played.obj["metadata"]["namespace"], played.obj["metadata"]["name"]
        )
        status = {"observedGeneration": generation, "replicas": ready, "readyReplicas": ready}
        if {key: (present.get("status") or {}).get(key) for key in status} == status:
            return
        try:
            await self._kube.patch_status(IMAGE_MODELS, present, status)
        except ConflictError:
            played.changed.set()


_READY = {"ready": True, "serving": True, "terminating": False}
_GOING = {"ready": False, "serving": True, "terminating": True}


def _slice(metadata: Mapping[str, Any], number: int, port: int) -> Object:
    service = naming.child_name(metadata["name"])
    return {
        "apiVersion": ENDPOINT_SLICES.api_version,
        "kind": ENDPOINT_SLICES.kind,
        "metadata": {
            "name": f"{service}-{number}",
            "namespace": metadata["namespace"],
            "labels": {naming.SERVICE_NAME_LABEL: service, naming.MANAGED_BY_LABEL: naming.MANAGED_BY},
        },
        "addressType": "IPv4",
        "ports": [{"name": naming.RUNTIME_PORT_NAME, "port": port}],
        "endpoints": [{"addresses": [routable_address()], "conditions": _READY}],
    }
