"""A gateway without keys, asked under names and by pages that are not its own."""

import httpx
import pytest

from gateway.answers import PICTURE, check_error, entry, images
from gateway.peers import Peer
from gateway.running import StartGateway
from heliograph_gateway.settings import GatewaySettings

OWN = [
    "127.0.0.1", "10.1.2.3:8080", "[::1]", "[::1]:8080", "localhost", "LOCALHOST:8080", "images.localhost",
    "heliograph", "heliograph:80", "gateway.models.svc", "gateway.models.svc.cluster.local",
    "gateway.svc.cluster.local.:80", "host.docker.internal:8080", "box.home.arpa",
    "images.example.org", "images.example.org:8443", "lan.example.net", "a.wide.example.net",
]  # fmt: skip
FOREIGN = [
    "evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "images.example.org.evil",
    "wide.example.net", "awide.example.net", "1.2.3", "svc.cluster.local.evil.example", "gateway.svc.evil.example",
]  # fmt: skip
SETTINGS = {"external_url": "https://images.example.org", "allowed_hosts": "lan.example.net, *.wide.example.net"}
BODY = {"model": "tiny", "prompt": "a circle"}


def test_only_names_that_nobody_else_can_have_are_served(start_gateway: StartGateway) -> None:
    client = start_gateway(**SETTINGS).client
    for host in OWN:
        assert client.get("/v1/models", headers={"host": host}).status_code == 200, host
    for host in FOREIGN:
        message = check_error(client.get("/v1/models", headers={"host": host}), 403, "host_not_allowed")
        assert host in message
        assert "HELIOGRAPH_GATEWAY_ALLOWED_HOSTS" in message
        # Load balancers ask under names of their own.
        assert client.get("/healthz", headers={"host": host}).status_code == 200


def test_any_name_may_be_allowed_and_keys_need_none(start_gateway: StartGateway) -> None:
    foreign = {"host": "evil.example"}
    assert start_gateway(allowed_hosts="*").client.get("/v1/models", headers=foreign).status_code == 200
    keyed = start_gateway(api_key="key").client
    assert keyed.get("/v1/models", headers=foreign).status_code == 401
    assert keyed.get("/v1/models", headers=foreign | {"api-key": "key"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"sec-fetch-site": "same-origin", "origin": "https://behind-a-proxy.example"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"origin": "http://127.0.0.1:{port}"}, 200),
        ({"origin": "https://images.example.org"}, 200),
        ({"origin": "https://app.example.org", "sec-fetch-site": "cross-site"}, 200),
        ({"origin": "https://inside.example", "x-forwarded-host": "inside.example"}, 200),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "http://localhost:3000", "sec-fetch-site": "same-site"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_only_its_own_pages_and_those_that_are_named_have_something_done(
    start_gateway: StartGateway, headers: dict[str, str], status: int
) -> None:
    with Peer(images(entry(PICTURE))) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint], cors_origins="https://app.example.org", **SETTINGS)
        port = str(httpx.URL(gateway.url).port)
        sent = {name: value.replace("{port}", port) for name, value in headers.items()}
        answer = gateway.client.post("/v1/images/generations", json=BODY, headers=sent)
        assert answer.status_code == status, answer.text
        assert len(peer.requests) == (status == 200)
        if status == 403:
            message = check_error(answer, 403, "origin_not_allowed")
            assert "HELIOGRAPH_GATEWAY_CORS_ORIGINS" in message
        # What only reads is kept from foreign pages by the browser.
        assert gateway.client.get("/v1/models", headers=sent).status_code == 200


def test_pages_of_any_origin_may_be_allowed(start_gateway: StartGateway) -> None:
    with Peer(images(entry(PICTURE))) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint], cors_origins="*")
        foreign = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
        assert gateway.client.post("/v1/images/generations", json=BODY, headers=foreign).status_code == 200


@pytest.mark.parametrize("name", ["http://a.example", "a.example:80", "*example", "a/b", "", "a b", "*."])
def test_what_is_no_name_is_refused(name: str) -> None:
    if not name:
        assert GatewaySettings(allowed_hosts=name).allowed_hosts == ()
        return
    with pytest.raises(ValueError, match="must be names, such as"):
        GatewaySettings(allowed_hosts=name)
