"""`/v1/models` over HTTP: states, what models can do, and starting them."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from starlette.types import Message

from cluster.waiting import eventually
from gateway.answers import check_error
from gateway.manifests import image_model
from gateway.peers import Behaviour, Peer, answer, hold, refusing_endpoint, reset, say
from gateway.running import ConnectClient, Gateway, StartGateway
from gateway.stages import Stage, settle
from heliograph_api.capabilities import ModelCapabilities
from heliograph_api.naming import child_name
from heliograph_gateway.models.capabilities import KnownCapabilities
from heliograph_gateway.models.loading import LONGEST_WAIT, Loader
from heliograph_gateway.models.observed import Observed
from heliograph_gateway.models.reading import ReplicaReader, Told
from heliograph_gateway.names import Route
from heliograph_gateway.routing import Endpoint, RoutingTable
from runtime.scripted_runtime import ScriptedRuntime, scripted_runtime

SCALED: dict[str, Any] = {"serving": {"replicas": 0, "scaling": {"min": 0}}}
ABLE: dict[str, Any] = {
    "revision": "1",
    "engine": "sdcpp",
    "family": "FLUX.1-dev",
    "operations": ["generate"],
    "parameters": {"prompt": {}, "steps": {"default": 20, "maximum": 50}},
    "max_images": 4,
    "max_pixels": 1048576,
    "max_references": 0,
    "control": False,
    "previews": True,
    "loras": [],
    "video": None,
}


@pytest.fixture(scope="module")
def runtime() -> Iterator[ScriptedRuntime]:
    with scripted_runtime() as running:
        yield running


@pytest.fixture
def peer() -> Iterator[Callable[[Behaviour], Peer]]:
    with ExitStack() as started:
        yield lambda behaviour: started.enter_context(Peer(behaviour))


def endpoint_of(runtime: ScriptedRuntime) -> Endpoint:
    url = httpx.URL(runtime.url)
    return Endpoint(url.host, url.port or 0)


def told(gateway: Gateway, name: str = "tiny") -> dict[str, Any]:
    response = gateway.client.get(f"/v1/models/{name}")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()["heliograph"]
    return found


def test_openai_s_client_lists_models_with_their_states(start_gateway: StartGateway, connect: ConnectClient) -> None:
    gateway = start_gateway(endpoints=[Endpoint("127.0.0.1", 9)], tiny={"serving": {"aliases": ["image-1"]}})
    table = gateway.routes
    table.set_model(image_model("asleep", **SCALED), observed=Observed("ScaledToZero"), not_ready="Nobody needs it.")
    table.set_model(image_model("fetched"), observed=Observed("Fetching", progress=0.25), not_ready="On their way.")
    table.set_model(image_model("broken"), observed=Observed("CorruptWeights", failed=True), not_ready="Cut short.")
    table.set_model(image_model("off", disabled=True))
    table.set_model(image_model("also-asleep", "art", alias="default/asleep"))

    listed = {model.id: model for model in connect(gateway.url).models.list()}

    assert sorted(listed) == ["also-asleep", "asleep", "broken", "fetched", "image-1", "tiny"]
    states = {name: (model.model_extra or {})["heliograph"] for name, model in listed.items()}
    ready = {"state": "ready", "reason": None, "message": None, "progress": None, "replicas": 1, "ready_replicas": 1}
    assert states["tiny"] == states["image-1"] == {**ready, "namespace": "default"}
    assert {name: state["state"] for name, state in states.items() if state["state"] != "ready"} == {
        "asleep": "cold", "also-asleep": "cold", "fetched": "loading", "broken": "failed",
    }  # fmt: skip
    assert (states["fetched"]["progress"], states["fetched"]["reason"]) == (0.25, "Fetching")
    assert (states["broken"]["message"], states["asleep"]["replicas"]) == ("Cut short.", 0)
    assert (listed["also-asleep"].owned_by, states["also-asleep"]["namespace"]) == ("art", "default")
    one = connect(gateway.url).models.retrieve("image-1")
    assert (one.id, one.object, one.owned_by) == ("image-1", "model", "default")


def test_what_a_model_can_do_is_read_off_a_replica_and_kept(
    start_gateway: StartGateway, runtime: ScriptedRuntime
) -> None:
    gateway = start_gateway(tiny=SCALED)
    assert told(gateway)["capabilities"] is None

    gateway.set_endpoints(endpoint_of(runtime))
    found = told(gateway)["capabilities"]
    assert found == runtime.client.get("/capabilities").json()
    assert found["operations"] == ["generate", "edit", "variation", "upscale"]
    assert found["parameters"]["steps"]["default"] == 20

    gateway.set_endpoints()
    assert told(gateway)["state"] == "cold"
    assert told(gateway)["capabilities"] == found, "what it can do does not change as it sleeps"
    gateway.routes.set_model(image_model("tiny", serving={"replicas": 3, "scaling": {"min": 0}}))
    assert told(gateway)["capabilities"] == found
    gateway.routes.set_model(image_model("tiny", step=7, serving={"replicas": 0, "scaling": {"min": 0}}))
    assert told(gateway)["capabilities"] is None, "that of another spec is not known yet"


def test_what_all_models_take_and_make(start_gateway: StartGateway, peer: Callable[[Behaviour], Peer]) -> None:
    """In the words of LocalAI's documentation."""
    video = {"frames": 9, "min_frames": 1, "max_frames": 81, "fps": 8, "last_image": False}
    told = {
        "draws": {**ABLE, "operations": ["generate", "upscale"], "parameters": {"prompt": {}, "image": {}}},
        "edits": {**ABLE, "operations": ["edit", "upscale"], "parameters": {"prompt": {}, "image": {}}},
        "films": {**ABLE, "operations": ["video"], "parameters": {"prompt": {}, "image": {}}, "video": video},
    }
    gateway = start_gateway(tiny={"serving": {"aliases": ["image-1"]}})
    gateway.set_endpoints(peer(answer(200, told["draws"])).endpoint)
    for name in ("edits", "films"):
        gateway.routes.set_model(image_model(name))
        gateway.routes.set_endpoints("default", child_name(name), [peer(answer(200, told[name])).endpoint])
    spoken = {"known_input_modalities": ["text", "audio"], "known_output_modalities": ["image"]}
    gateway.routes.set_model(image_model("asleep", **spoken))
    gateway.routes.set_model(image_model("off", disabled=True))

    listed = gateway.client.get("/v1/models/capabilities").json()

    assert listed["object"] == "list"
    assert {entry.pop("object") for entry in listed["data"]} == {"model"}
    found = {entry.pop("id"): tuple(entry.values()) for entry in listed["data"]}
    assert found == {
        "asleep": ([], ["text", "audio"], ["image"]),
        "edits": (["image"], ["text", "image"], ["image"]),
        "films": (["video"], ["text", "image"], ["video"]),
        "image-1": (["image"], ["text"], ["image"]),
        "tiny": (["image"], ["text"], ["image"]),
    }
    assert gateway.client.get("/models/capabilities").json()["data"]


def test_replicas_are_asked_once_for_each_set_of_them(
    start_gateway: StartGateway, peer: Callable[[Behaviour], Peer]
) -> None:
    first, second = peer(answer(200, ABLE)), peer(answer(200, {**ABLE, "family": "FLUX.1-schnell"}))
    gateway = start_gateway(endpoints=[first.endpoint])
    for _ in range(5):
        assert told(gateway)["capabilities"]["family"] == "FLUX.1-dev"
    assert [request.line for request in first.requests] == ["GET /capabilities HTTP/1.1"]
    assert not {"authorization", "cookie", "api-key"} & first.requests[0].headers.keys()

    gateway.set_endpoints(second.endpoint)
    assert told(gateway)["capabilities"]["family"] == "FLUX.1-schnell"
    gateway.client.get("/v1/models")
    assert (len(first.requests), len(second.requests)) == (1, 1), "a list asks nobody"


class SlowReader(ReplicaReader):
    """Tells of another family at each read, once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.may_tell = asyncio.Event()

    async def read(self, endpoint: Endpoint, path: str, kind: type[Told], *, seconds: float) -> Told | None:  # noqa: ARG002
        self.reads += 1
        family = f"{self.reads}"
        await self.may_tell.wait()
        return kind.model_validate_json(json.dumps({**ABLE, "family": family}))


def test_who_asks_for_a_new_spec_is_not_told_of_the_former_one() -> None:
    async def scenario() -> None:
        table, reader = RoutingTable(), SlowReader()
        able = KnownCapabilities(table, reader)
        table.set_model(image_model("tiny"))
        table.set_endpoints("default", child_name("tiny"), [Endpoint("10.0.0.1", 8080)])
        former = [asyncio.create_task(able.of(table.resolve("tiny"))) for _ in range(2)]
        await settle()
        table.set_model(image_model("tiny", step=7))
        new = [asyncio.create_task(able.of(table.resolve("tiny"))) for _ in range(2)]
        await settle()
        assert reader.reads == 1
        reader.may_tell.set()
        found = await asyncio.gather(*former, *new)
        assert [(document or {})["family"] for document in found] == ["1", "1", "2", "2"]
        assert reader.reads == 2

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_a_replica_that_is_gone_is_made_up_for_by_another(
    start_gateway: StartGateway, peer: Callable[[Behaviour], Peer]
) -> None:
    with refusing_endpoint() as gone:
        gateway = start_gateway(endpoints=[gone, peer(answer(200, ABLE)).endpoint])
        assert told(gateway)["capabilities"]["family"] == "FLUX.1-dev"


CANARY = "canary-4711"
HOSTILE: dict[str, Behaviour] = {
    "no JSON": answer(200, CANARY.encode()),
    "other JSON": answer(200, {"secret": CANARY}),
    "another type": answer(200, {**ABLE, "max_images": CANARY}),
    "text as a number": answer(200, {**ABLE, "max_images": "4"}),
    "an unknown operation": answer(200, {**ABLE, "operations": [CANARY]}),
    "too many parameters": answer(200, {**ABLE, "parameters": {f"{CANARY}{n}": {} for n in range(200)}}),
    "a name with a line break": answer(200, {**ABLE, "family": f"a\n{CANARY}"}),
    "a long name": answer(200, {**ABLE, "family": CANARY * 1000}),
    "deep JSON": answer(200, b'{"revision":' + b"[" * 100_000),
    "a large number": answer(200, json.dumps(ABLE).replace("1048576", "9" * 4000).encode()),
    "no number": answer(200, json.dumps(ABLE).replace("20", "NaN").encode()),
    "a large answer": answer(200, b" " * 10_000_000 + json.dumps(ABLE).encode()),
    "a compressed answer": answer(200, json.dumps(ABLE).encode(), "content-encoding: gzip"),
    "an error": answer(500, ABLE),
    "a redirect": answer(302, ABLE, "location: http://169.254.169.254/latest"),
    "no HTTP": say(CANARY.encode()),
    "endless headers": say(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200_000),
    "a reset": reset(),
    "half an answer": reset(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_nothing_of_an_answer_that_is_none_gets_through(
    start_gateway: StartGateway, peer: Callable[[Behaviour], Peer], what: str
) -> None:
    runtime = peer(HOSTILE[what])
    gateway = start_gateway(endpoints=[runtime.endpoint])

    response = gateway.client.get("/v1/models/tiny")

    found = response.json()["heliograph"]
    if what == "a compressed answer":
        assert found["capabilities"]["family"] == "FLUX.1-dev", "the header was a lie"
    else:
        assert (found["state"], found["capabilities"]) == ("ready", None)
    assert CANARY not in response.text
    asked = len(runtime.requests)
    told(gateway)
    assert len(runtime.requests) == asked, "it is not asked again at once"


def test_only_bounds_of_known_parameters_are_taken_from_a_replica(
    start_gateway: StartGateway, peer: Callable[[Behaviour], Peer]
) -> None:
    parameters = {
        "steps": {"default": 4, "description": CANARY, "type": CANARY, "$ref": CANARY, "maximum": 8},
        CANARY: {"description": CANARY},
    }
    gateway = start_gateway(endpoints=[peer(answer(200, {**ABLE, "parameters": parameters, CANARY: 1})).endpoint])

    response = gateway.client.get("/v1/models/tiny")

    steps = response.json()["heliograph"]["capabilities"]["parameters"]
    assert steps == {
        "steps": {"type": "integer", "minimum": 1, "maximum": 8, "default": 4, "description": "inference steps"}
    }
    assert CANARY not in response.text


def test_a_replica_that_says_nothing_costs_a_moment_once(
    start_gateway: StartGateway, peer: Callable[[Behaviour], Peer]
) -> None:
    left = threading.Event()
    silent = peer(hold(left))
    gateway = start_gateway(endpoints=[silent.endpoint])
    states: list[dict[str, Any]] = []
    asking = [threading.Thread(target=lambda: states.append(told(gateway))) for _ in range(8)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(20)

    assert [state["capabilities"] for state in states] == [None] * 8
    assert len(silent.requests) == 1, "all of them wait for one answer"
    assert left.wait(10), "the connection is given up"


def test_a_trickle_ends_at_the_same_time(start_gateway: StartGateway, peer: Callable[[Behaviour], Peer]) -> None:
    done = threading.Event()

    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        try:
            for _ in range(300):
                connection.sendall(b" ")
                time.sleep(0.05)
        finally:
            done.set()

    gateway = start_gateway(endpoints=[peer(trickle).endpoint])
    assert told(gateway)["capabilities"] is None
    assert done.wait(10)


def test_the_document_says_the_same_when_it_is_read_again() -> None:
    first = ModelCapabilities.model_validate_json(json.dumps(ABLE)).document()
    assert ModelCapabilities.model_validate_json(json.dumps(first)).document() == first


class Wakes:
    """A waker whose cluster needs a moment: the model has its size at once, its replica later, if it is to have one."""

    def __init__(self, endpoint: Endpoint | None) -> None:
        self.routes: RoutingTable
        self.count = 0
        self._endpoint = endpoint

    def wake(self, route: Route, *, is_wanted: Callable[[], bool], on_woken: Callable[[Route], None]) -> None:
        assert is_wanted()
        self.count += 1
        self.routes.set_model(image_model("tiny", serving={"replicas": 1, "scaling": {"min": 0}}))
        on_woken(route)
        if self._endpoint:
            service = "default", child_name("tiny")
            asyncio.get_running_loop().call_later(0.3, self.routes.set_endpoints, *service, [self._endpoint])

    async def aclose(self) -> None:
        pass


def test_a_model_that_sleeps_is_started_and_told_of_at_once(
    start_gateway: StartGateway, peer: Callable[[Behaviour], Peer]
) -> None:
    waker = Wakes(peer(answer(200, ABLE)).endpoint)
    gateway = start_gateway(tiny=SCALED, waker=waker)
    waker.routes = gateway.routes

    response = gateway.client.post("/v1/models/tiny/load")
    assert (response.status_code, response.json()["id"]) == (202, "tiny")
    assert (response.json()["heliograph"]["state"], waker.count) == ("loading", 1)

    eventually(lambda: told(gateway)["state"] == "ready", what="the replica")
    response = gateway.client.post("/v1/models/tiny/load")
    assert (response.status_code, response.json()["heliograph"]["state"], waker.count) == (200, "ready", 1)
    assert response.json()["heliograph"]["capabilities"]["family"] == "FLUX.1-dev"


def test_who_waits_is_answered_when_the_model_is_ready(
    start_gateway: StartGateway, peer: Callable[[Behaviour], Peer]
) -> None:
    waker = Wakes(peer(answer(200, ABLE)).endpoint)
    gateway = start_gateway(tiny={**SCALED, "name": "acme/tiny v1"}, waker=waker)
    waker.routes = gateway.routes

    response = gateway.client.post("/v1/models/default/tiny/load", params={"wait": 30})

    assert (response.status_code, response.json()["heliograph"]["state"]) == (200, "ready")
    assert response.json()["id"] == "default/tiny"
    assert gateway.client.post("/v1/models/acme%2Ftiny%20v1/load").status_code in {200, 404}


def test_who_waits_in_vain_is_told_when_the_time_is_up(start_gateway: StartGateway) -> None:
    waker = Wakes(None)
    gateway = start_gateway(tiny=SCALED, waker=waker)
    waker.routes = gateway.routes

    response = gateway.client.post("/v1/models/tiny/load?wait=0.5")

    assert (response.status_code, response.json()["heliograph"]["state"]) == (202, "loading")


def test_who_leaves_is_waited_for_no_longer() -> None:
    async def scenario() -> None:
        stage = Stage()
        left: list[Message] = [{"type": "http.disconnect"}, {"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Message:
            return left.pop()

        async with asyncio.timeout(30):
            loader = Loader(stage.table, stage.hold)
            route = await loader.load(stage.table.resolve("tiny"), seconds=LONGEST_WAIT, receive=receive)
        assert not stage.table.is_ready(route)
        assert len(stage.wakes.asked) == 1

    asyncio.run(scenario())


def test_a_model_that_a_person_starts_is_waited_for_but_not_started(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    response = gateway.client.post("/v1/models/tiny/load?wait=0.2")
    assert (response.status_code, response.json()["heliograph"]["state"]) == (202, "loading")

    gateway.routes.set_model(image_model("tiny", serving={"replicas": 0}))
    message = check_error(gateway.client.post("/v1/models/tiny/load"), 409, "model_not_scaled", "model")
    assert "set spec.serving.replicas, or set spec.serving.scaling" in message


@pytest.mark.parametrize(
    ("wait", "code"),
    [("-1", "invalid_value"), ("601", "invalid_value"), ("nan", "invalid_type"), ("soon", "invalid_type")],
)
def test_a_wait_out_of_bounds_is_refused(start_gateway: StartGateway, wait: str, code: str) -> None:
    gateway = start_gateway()
    check_error(gateway.client.post(f"/v1/models/tiny/load?wait={wait}"), 400, code, "wait")


def test_what_cannot_be_started_says_why(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    gateway.routes.set_model(image_model("off", disabled=True))
    check_error(gateway.client.post("/v1/models/off/load"), 403, "model_disabled", "model")
    check_error(gateway.client.post("/v1/models/none/load"), 404, "model_not_found", "model")
    assert gateway.client.get("/v1/models/tiny/load").status_code == 404, "a model of that name, were there one"


def test_who_leaves_does_not_keep_a_request_at_work(start_gateway: StartGateway) -> None:
    waker = Wakes(None)
    gateway = start_gateway(tiny=SCALED, waker=waker)
    waker.routes = gateway.routes
    with pytest.raises(httpx.ReadTimeout):
        gateway.client.post("/v1/models/tiny/load?wait=600", timeout=0.5)

    gateway.expect_metric(1, "heliograph_gateway_requests_total", namespace="", status="202")
