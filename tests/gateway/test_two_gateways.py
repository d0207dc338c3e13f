"""Two gateways over one PostgreSQL and one bucket: what one of them makes, the other one has too."""

import asyncio
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from sqlalchemy import select

from cluster.addresses import free_port
from cluster.leash import Leash
from cluster.waiting import eventually, is_answered
from gateway.answers import CLIP, PICTURE, b64, chunk, entry, events, images
from gateway.peers import Peer, hold
from gateway.running import ConnectClient, Gateway, StartGateway
from gateway.states import Clock, opened
from gateway.storages import INSTALLATION, BucketPlace
from heliograph_api.errors import APIError
from heliograph_gateway.database import StateError
from heliograph_gateway.files.store import FileStore, StoredFile
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.state import State
from heliograph_gateway.tables import stored_files
from postgres import Postgres, postgres_server

SIGNING_KEY = "0123456789abcdef0123456789abcdef"
ROOT = Path(__file__).resolve().parents[2]
CLIP_EVENTS = [chunk(25.0), chunk(100.0, finish_reason="stop", **entry(CLIP, mime_type="video/mp4"))]
WORKER = """
import asyncio, sys
import uvicorn
from gateway.manifests import image_model
from heliograph_api.naming import child_name
from heliograph_gateway.app import create_app
from heliograph_gateway.routing import Endpoint, RoutingTable
from heliograph_gateway.settings import GatewaySettings

routes = RoutingTable()
routes.set_model(image_model("tiny"), created=1_700_000_000)
routes.set_endpoints("default", child_name("tiny"), [Endpoint("127.0.0.1", int(sys.argv[2]))])
uvicorn.run(create_app(routes, GatewaySettings()), port=int(sys.argv[1]), log_config=None)
"""

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API")

StartTwo = Callable[..., tuple[Gateway, Gateway]]


@pytest.fixture
def shared(postgres: Postgres, bucket_url: str) -> dict[str, Any]:
    """Settings of gateways that share everything."""
    return {"database_url": postgres.new_database(), "files_url": bucket_url, "signing_key": SIGNING_KEY}


@pytest.fixture
def start_two(start_gateway: StartGateway, shared: dict[str, Any], tmp_path: Path) -> StartTwo:
    def start(**settings: Any) -> tuple[Gateway, Gateway]:
        one, two = (start_gateway(data_dir=tmp_path / name, **shared, **settings) for name in ("one", "two"))
        for gateway in (one, two):
            # Routes are built when they are first looked through, for which pydantic must be alone in its process.
            assert gateway.client.get("/nothing").status_code == 404
        return one, two

    return start


def test_a_link_of_one_is_served_by_the_other(start_two: StartTwo) -> None:
    with Peer(images(entry(PICTURE))) as peer:
        one, two = start_two(endpoints=[peer.endpoint], response_format="url")
        link = httpx.URL(one.generate().raise_for_status().json()["data"][0]["url"]).raw_path.decode()
        for gateway in (one, two):
            answer = gateway.client.get(link)
            assert (answer.status_code, answer.content) == (200, PICTURE)
            assert answer.headers["content-type"] == "image/png"
        part = two.client.get(link, headers={"range": "bytes=1-3"})
        assert (part.status_code, part.content) == (206, PICTURE[1:4])


def test_a_job_of_one_is_seen_streamed_and_deleted_at_the_other(start_two: StartTwo, connect: ConnectClient) -> None:
    with Peer(events(CLIP_EVENTS)) as peer:
        one, two = (connect(gateway.url) for gateway in start_two(endpoints=[peer.endpoint]))
        video = one.videos.create(model="tiny", prompt="a circle")
        eventually(lambda: two.videos.retrieve(video.id).status == "completed", what="the clip")
        assert [listed.id for listed in two.videos.list()] == [video.id]
        assert two.videos.download_content(video.id).content == CLIP
        assert two.videos.delete(video.id).deleted
        for client in (one, two):
            with pytest.raises(openai.NotFoundError):
                client.videos.retrieve(video.id)
    assert len(peer.requests) == 1


def test_a_job_is_stopped_where_it_runs(start_two: StartTwo, connect: ConnectClient) -> None:
    left = threading.Event()
    with Peer(hold(left)) as peer:
        one, two = start_two()
        one.set_endpoints(peer.endpoint)
        video = connect(one.url).videos.create(model="tiny", prompt="a circle")
        eventually(lambda: len(peer.requests) == 1, what="the request at the runtime")
        assert connect(two.url).videos.retrieve(video.id).status == "in_progress"
        connect(two.url).videos.delete(video.id)
        assert left.wait(30)


def test_jobs_are_counted_together(start_two: StartTwo) -> None:
    """However many ask at once at both, no more than the bound get in."""
    left = threading.Event()
    with Peer(hold(left)) as peer:
        gateways = start_two(endpoints=[peer.endpoint], max_video_jobs=7)

        def create(number: int) -> int:
            body = {"model": "tiny", "prompt": "a circle"}
            return gateways[number % 2].client.post("/v1/videos", json=body).status_code

        with ThreadPoolExecutor(16) as threads:
            found = sorted(threads.map(create, range(24)))
        assert found == [200] * 7 + [429] * 17
        for gateway in gateways:
            assert len(gateway.client.get("/v1/videos").json()["data"]) == 7
        for job in gateways[0].client.get("/v1/videos").json()["data"]:
            gateways[1].client.delete(f"/v1/videos/{job['id']}").raise_for_status()


@pytest.mark.parametrize("lapses", [0, 2])
def test_a_job_whose_gateway_is_killed_is_taken_up_by_the_other(
    start_gateway: StartGateway,
    shared: dict[str, Any],
    postgres: Postgres,
    tmp_path: Path,
    connect: ConnectClient,
    *,
    lapses: int,
) -> None:
    left = threading.Event()
    with Peer(hold(left)) as slow, Peer(events(CLIP_EVENTS)) as quick:
        created = _begun_by_a_killed_gateway(slow, shared, tmp_path)
        assert left.wait(30)
        other = connect(start_gateway(endpoints=[quick.endpoint], data_dir=tmp_path / "other", **shared).url)
        assert other.videos.retrieve(created).status == "in_progress"
        # The lease lapses, as it does half a minute later.
        lapse = f"UPDATE video_jobs SET lease_until = lease_until - 30, lapses = {lapses}"
        postgres.execute(lapse, shared["database_url"])
        eventually(lambda: other.videos.retrieve(created).status in ("completed", "failed"), what="the end of the job")
        ended = other.videos.retrieve(created)
        if lapses:
            # What ended three gateways is not given to a fourth.
            assert ended.error and ended.error.code == "gateway_stopped"  # noqa: PT018 - the types need it
            assert quick.requests == []
            return
        assert ended.status == "completed"
        (abandoned,), (repeated,) = slow.requests, quick.requests
        assert json.loads(repeated.body) == json.loads(abandoned.body)


def _begun_by_a_killed_gateway(peer: Peer, shared: dict[str, Any], tmp_path: Path) -> str:
    """Return the id of a job at whose work a gateway was killed."""
    port, log = free_port(), tmp_path / "log"
    environment = {f"HELIOGRAPH_GATEWAY_{name.upper()}": str(value) for name, value in shared.items()}
    command = [sys.executable, "-c", WORKER, str(port), str(peer.endpoint.port)]
    env = {**os.environ, **environment, "PYTHONPATH": str(ROOT / "tests")}
    with (
        Leash(command, log=log, env=env) as killed,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        killed.wait_until(lambda: is_answered(f"{client.base_url}/readyz"))
        created = client.post("/v1/videos", json={"model": "tiny", "prompt": "a"}).raise_for_status().json()
        eventually(lambda: peer.requests, what="the request at the runtime")
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    return str(created["id"])


def test_without_the_database_pictures_are_still_drawn(
    start_gateway: StartGateway, tmp_path: Path, connect: ConnectClient
) -> None:
    with postgres_server(tmp_path) as server, Peer(images(entry(PICTURE))) as peer:
        gateway = start_gateway(
            endpoints=[peer.endpoint], database_url=server.url(), signing_key=SIGNING_KEY, data_dir=tmp_path / "data"
        )
        server.stop()
        assert gateway.generate().status_code == 200
        for answer in (
            gateway.client.get("/v1/videos"),
            gateway.client.post("/v1/videos", json={"model": "tiny", "prompt": "a"}),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "state_unavailable")
            assert answer.headers["retry-after"] == "5"
        linked = gateway.client.post(
            "/v1/images/generations", json={"model": "tiny", "prompt": "a", "response_format": "url"}
        )
        assert (linked.status_code, linked.headers["x-should-retry"]) == (503, "false")
        both = gateway.client.post(
            "/v1/images/generations", json={"model": "tiny", "prompt": "a", "response_format": "both"}
        )
        (item,) = both.raise_for_status().json()["data"]
        assert (item["b64_json"], item.get("url")) == (b64(PICTURE), None)
        server.start()
        assert list(connect(gateway.url).videos.list()) == []


def test_a_clip_that_is_drawn_during_an_outage_is_kept(
    start_gateway: StartGateway, tmp_path: Path, connect: ConnectClient
) -> None:
    """What took long to draw is not lost because the database is away at the end."""
    drawing, drawn = threading.Event(), threading.Event()

    def draw(connection: socket.socket) -> None:
        drawing.set()
        assert drawn.wait(60)
        events(CLIP_EVENTS)(connection)

    with postgres_server(tmp_path) as server, Peer(draw) as peer:
        client = connect(
            start_gateway(
                endpoints=[peer.endpoint],
                database_url=server.url(),
                signing_key=SIGNING_KEY,
                data_dir=tmp_path / "gateway",
            ).url
        )
        video = client.videos.create(model="tiny", prompt="a")
        assert drawing.wait(30)
        server.stop()
        drawn.set()
        with pytest.raises(openai.InternalServerError, match="cannot reach its database"):
            client.videos.retrieve(video.id)
        server.start()
        eventually(lambda: client.videos.retrieve(video.id).status == "completed", what="the clip", timeout=60)
        assert client.videos.download_content(video.id).content == CLIP
        assert len(peer.requests) == 1


def test_what_expired_is_collected_once(shared: dict[str, Any]) -> None:
    async def scenario() -> None:
        clock = Clock()
        async with opened(shared["database_url"]) as one, opened(shared["database_url"]) as two:
            storages = [BucketPlace(shared["files_url"]).storage() for _ in range(2)]
            await asyncio.gather(*(storage.open(INSTALLATION) for storage in storages))
            stores = [
                FileStore(storage, database, ttl=60, most=10**6, now=clock)
                for storage, database in zip(storages, (one, two), strict=True)
            ]
            await asyncio.gather(*(stores[number % 2].put(b"x", media_type="image/png") for number in range(40)))
            clock.time += 60
            assert sum(await asyncio.gather(*(store.collect() for store in stores))) == 40
            assert BucketPlace(shared["files_url"]).names() == set()

    asyncio.run(scenario())


def test_both_keep_to_the_size_of_the_store(shared: dict[str, Any]) -> None:
    async def scenario() -> None:
        place = BucketPlace(shared["files_url"])
        async with opened(shared["database_url"]) as one, opened(shared["database_url"]) as two:
            stores = []
            for database in (one, two):
                storage = place.storage()
                await storage.open(INSTALLATION)
                stores.append(FileStore(storage, database, ttl=60, most=1000))
            puts = (stores[number % 2].put(b"x" * 100, media_type="image/png") for number in range(40))
            ends = await asyncio.gather(*puts, return_exceptions=True)
            # Some have to make room before they are whole.
            errors = [end for end in ends if not isinstance(end, StoredFile)]
            assert {error.code for error in errors if isinstance(error, APIError)} <= {"storage_full"}
            kept = {row.id for row in await one.rows(select(stored_files.c.id))}
            assert len(kept) == 10
            assert place.names() == kept

    asyncio.run(scenario())


def test_gateways_that_share_a_database_need_one_key(shared: dict[str, Any], tmp_path: Path) -> None:
    state = State(GatewaySettings(**{**shared, "signing_key": None}, data_dir=tmp_path))

    async def scenario() -> None:
        try:
            await state.open()
        finally:
            await state.aclose()

    with pytest.raises(StateError, match=r"^signing_key: is not set.*HELIOGRAPH_GATEWAY_SIGNING_KEY.*openssl rand"):
        asyncio.run(scenario())


def test_another_database_does_not_get_the_same_bucket(
    shared: dict[str, Any], start_gateway: StartGateway, postgres: Postgres, tmp_path: Path
) -> None:
    start_gateway(data_dir=tmp_path / "one", **shared)
    other = {**shared, "database_url": postgres.new_database()}

    async def scenario() -> None:
        state = State(GatewaySettings(**other, data_dir=tmp_path / "other"))
        try:
            await state.open()
        finally:
            await state.aclose()

    with pytest.raises(StateError, match="holds the files of another installation, one with another database"):
        asyncio.run(scenario())
