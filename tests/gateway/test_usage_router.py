"""GET /v1/usage."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.manifests import image_model
from gateway.metered import ADMIN, ALICE, BOB, bearer, write_keys
from gateway.running import Gateway, StartGateway
from gateway.states import Clock, opened
from heliograph_api.usage import Usage
from heliograph_gateway.usage.ledger import Ledger
from heliograph_gateway.usage.sums import DAY, HOUR

START = 1_800_000_000 // DAY * DAY
USED = Usage(images=2, pixels=8192, steps=40, seconds=1.25, gpu_seconds=2.5)
ENTRIES = [
    (START + 10, "alice", ("default", "tiny")),
    (START + 10, "bob", ("default", "tiny")),
    (START + 2 * HOUR + 5, "alice", ("team", "gone")),
    (START + DAY + 5, "alice", ("default", "tiny")),
    (START + 9 * DAY, "alice", ("default", "tiny")),
]


@pytest.fixture
def gateway(start_gateway: StartGateway, tmp_path: Path) -> Gateway:
    """A gateway whose record has some entries."""

    async def fill() -> None:
        clock = Clock()
        async with opened(tmp_path / "gateway.sqlite3") as database:
            ledger = Ledger(database, days=400, now=clock)
            for moment, key, model in ENTRIES:
                clock.time = moment
                ledger.add(key, model, USED)
            await ledger.flush()

    asyncio.run(fill())
    return start_gateway(
        keys_file=write_keys(tmp_path / "keys.json"),
        database_url=f"sqlite:///{tmp_path}/gateway.sqlite3",
        # The entries are of the future: nothing is too old.
        tiny={"serving": {"aliases": ["little"]}},
    )


def ask(gateway: Gateway, key: str = ADMIN, **query: Any) -> dict[str, Any]:
    given = {"start_time": START, "end_time": START + 10 * DAY, **query}
    response = gateway.client.get("/v1/usage", params=given, headers=bearer(key))
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    assert page["object"] == "page"
    return page


def refused(gateway: Gateway, key: str = ADMIN, **query: Any) -> tuple[int, str, str, str]:
    given = {"start_time": START, "end_time": START + 10 * DAY, **query}
    response = gateway.client.get("/v1/usage", params=given, headers=bearer(key))
    error = response.json()["error"]
    return response.status_code, error["code"], error["param"], error["message"]


def results(page: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    for bucket in page["data"]:
        assert bucket["object"] == "bucket"
        for result in bucket["results"]:
            yield (bucket["start_time"] - START) // HOUR, result


def test_days_are_summed_and_paged(gateway: Gateway) -> None:
    page = ask(gateway)
    assert [bucket["start_time"] for bucket in page["data"]] == [START + day * DAY for day in range(7)]
    assert all(bucket["end_time"] - bucket["start_time"] == DAY for bucket in page["data"])
    assert [(hour, result["num_requests"]) for hour, result in results(page)] == [(0, 3), (24, 1)]
    assert page["data"][0]["results"] == [
        {
            "object": "heliograph.usage.result",
            "images": 6,
            "pixels": 3 * 8192,
            "steps": 120,
            "seconds": 3.75,
            "gpu_seconds": 7.5,
            "num_requests": 3,
            "model": None,
            "key": None,
        }
    ]
    assert page["has_more"] is True
    rest = ask(gateway, page=page["next_page"])
    assert [(hour, result["num_requests"]) for hour, result in results(rest)] == [(9 * 24, 1)]
    assert [bucket["start_time"] for bucket in rest["data"]] == [START + day * DAY for day in (7, 8, 9)]
    assert (rest["has_more"], rest["next_page"]) == (False, None)


def test_hours_and_groups(gateway: Gateway) -> None:
    page = ask(gateway, bucket_width="1h", group_by=["model", "key"], limit=3)
    assert len(page["data"]) == 3
    assert [(hour, result["model"], result["key"]) for hour, result in results(page)] == [
        (0, "default/tiny", "alice"),
        (0, "default/tiny", "bob"),
        (2, "team/gone", "alice"),
    ]
    by_model = ask(gateway, group_by="model", limit=1)
    assert [(result["model"], result["key"], result["images"]) for _, result in results(by_model)] == [
        ("default/tiny", None, 4),
        ("team/gone", None, 2),
    ]


@pytest.mark.parametrize(
    "query",
    [{"group_by[]": ["model", "key"]}, {"group_by": "key,model"}, {"group_by": ["key", "model"]}],
    ids=["brackets", "commas", "repeated"],
)
def test_lists_are_read_as_clients_write_them(gateway: Gateway, query: dict[str, Any]) -> None:
    assert {(result["model"], result["key"]) for _, result in results(ask(gateway, **query))} == {
        ("default/tiny", "alice"),
        ("default/tiny", "bob"),
        ("team/gone", "alice"),
    }


def test_models_go_by_any_of_their_names_and_gone_ones_by_their_own(gateway: Gateway) -> None:
    gateway.routes.set_model(image_model("tiny", "other"), created=1_800_000_000)
    for name in ("tiny", "little", "default/tiny"):
        assert sum(result["num_requests"] for _, result in results(ask(gateway, models=name))) == 3
    assert sum(result["num_requests"] for _, result in results(ask(gateway, models="team/gone"))) == 1
    assert sum(result["num_requests"] for _, result in results(ask(gateway, models=["gone", "little"]))) == 4
    assert list(results(ask(gateway, models="other/tiny"))) == []
    assert list(results(ask(gateway, models="%"))) == []


def test_times_are_whole_hours_and_the_buckets_say_so(gateway: Gateway) -> None:
    page = ask(gateway, start_time=START + HOUR + 17, end_time=START + DAY + 1)
    assert [(bucket["start_time"], bucket["end_time"]) for bucket in page["data"]] == [
        (START + HOUR, START + DAY),
        (START + DAY, START + DAY + HOUR),
    ]
    assert [result["num_requests"] for _, result in results(page)] == [1, 1]


def test_without_an_end_the_present_hour_is_the_last(gateway: Gateway) -> None:
    now = int(datetime.now(UTC).timestamp())
    response = gateway.client.get("/v1/usage", params={"start_time": now - HOUR}, headers=bearer(ADMIN))
    last = response.json()["data"][-1]["end_time"]
    assert now < last <= now + HOUR + 60


def test_a_key_sees_its_own_usage_and_an_administrator_that_of_all(gateway: Gateway) -> None:
    for key, name, requests in ((ALICE, "alice", 3), (BOB, "bob", 1)):
        page = ask(gateway, key, group_by="key")
        assert {result["key"] for _, result in results(page)} == {name}
        assert sum(result["num_requests"] for _, result in results(page)) == requests
        assert ask(gateway, key, keys=name, group_by="key") == page
    of_bob = ask(gateway, keys="bob", group_by="key")
    assert [result["key"] for _, result in results(of_bob)] == ["bob"]
    for keys in ("bob", "alice,bob", "nobody"):
        assert refused(gateway, ALICE, keys=keys)[:3] == (403, "insufficient_scope", "keys")
    assert gateway.client.get("/v1/usage", params={"start_time": START}).status_code == 401


def test_without_keys_everybody_sees_what_nobody_was_charged_for(start_gateway: StartGateway) -> None:
    page = start_gateway().client.get("/v1/usage", params={"start_time": START - 400 * DAY, "limit": 1}).json()
    assert page["data"][0]["results"] == []


@pytest.mark.parametrize(
    ("query", "code", "param", "problem"),
    [
        ({"start_time": ""}, "invalid_value", "start_time", "whole number"),
        ({"start_time": "-1"}, "invalid_value", "start_time", "whole number"),
        ({"start_time": "1e9"}, "invalid_value", "start_time", "whole number"),
        ({"start_time": "\uff11"}, "invalid_value", "start_time", "whole number"),
        ({"start_time": "9" * 30}, "invalid_value", "start_time", "whole number"),
        ({"start_time": [START, START]}, "invalid_value", "start_time", "more than once"),
        ({"end_time": START}, "invalid_value", "end_time", "before end_time"),
        ({"end_time": "soon"}, "invalid_value", "end_time", "whole number"),
        ({"bucket_width": "1m"}, "invalid_value", "bucket_width", "send 1h or 1d"),
        ({"group_by": "project_id"}, "invalid_value", "group_by", "send model, key or both"),
        ({"group_by": ""}, "invalid_value", "group_by", "1 to 512"),
        ({"limit": 0}, "invalid_value", "limit", "from 1 to 31"),
        ({"limit": 32}, "invalid_value", "limit", "from 1 to 31"),
        ({"limit": 169, "bucket_width": "1h"}, "invalid_value", "limit", "from 1 to 168"),
        ({"page": "page_1"}, "invalid_value", "page", "next_page"),
        ({"page": f"page_{START + DAY + 1}"}, "invalid_value", "page", "next_page"),
        ({"page": "x"}, "invalid_value", "page", "next_page"),
        ({"models": "a," * 100}, "invalid_value", "models", "at most 100"),
        ({"models": "a" * 513}, "invalid_value", "models", "1 to 512"),
        ({"models": "a\x00b"}, "invalid_value", "models", "1 to 512"),
        ({"project_ids": "x"}, "unknown_parameter", "project_ids", "no such parameter"),
        ({"limit[]": "1"}, "unknown_parameter", "limit[]", "no such parameter"),
    ],
)
def test_errors_name_the_parameter(
    gateway: Gateway, query: dict[str, Any], code: str, param: str, problem: str
) -> None:
    status, found, field, message = refused(gateway, **query)
    assert (status, found, field) == (400, code, param)
    assert message.startswith(f"{param}: ")
    assert problem in message


def test_a_begin_is_asked_for_and_must_be_past(gateway: Gateway) -> None:
    response = gateway.client.get("/v1/usage", headers=bearer(ADMIN))
    assert response.json()["error"]["code"] == "missing_required_parameter"
    response = gateway.client.get("/v1/usage", params={"start_time": START + 4000 * DAY}, headers=bearer(ADMIN))
    assert response.json()["error"]["param"] == "start_time"
