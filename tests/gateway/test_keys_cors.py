"""Web pages of other origins: what a browser asks beforehand, and what it lets them read."""

from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from gateway.running import StartGateway
from heliograph_gateway.settings import GatewaySettings

PAGE = "https://app.example.org"


def preflight(client: httpx.Client, origin: str, method: str = "POST") -> httpx.Response:
    asked = {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": "authorization,content-type,x-stainless-lang",
    }
    return client.options("/v1/images/generations", headers=asked)


def test_pages_may_ask_from_the_origins_that_are_named(start_gateway: StartGateway) -> None:
    client = start_gateway(api_key="key", cors_origins=(PAGE, "http://localhost:3000")).client
    for origin in (PAGE, "http://localhost:3000"):
        answer = preflight(client, origin)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
        allowed = answer.headers["access-control-allow-headers"].replace(" ", "").split(",")
        assert {"authorization", "content-type", "x-stainless-lang"} <= set(allowed)
        assert "access-control-allow-credentials" not in answer.headers
    for origin in ("https://evil.example.org", "null", f"{PAGE}.evil.test"):
        refused = preflight(client, origin)
        assert refused.status_code == 400
        assert "access-control-allow-origin" not in refused.headers
    assert preflight(client, PAGE, method="PATCH").status_code == 400


def test_pages_read_answers_and_refusals(start_gateway: StartGateway) -> None:
    client = start_gateway(api_key="key", cors_origins=(PAGE,)).client
    for key, status in (("key", 200), ("wrong", 401)):
        answer = client.get("/v1/models", headers={"origin": PAGE, "authorization": f"Bearer {key}"})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, PAGE)
        assert {"x-request-id", "retry-after"} <= set(answer.headers["access-control-expose-headers"].split(", "))
        assert answer.headers["vary"] == "Origin"
    other = client.get("/v1/models", headers={"origin": "https://evil.example.org", "authorization": "Bearer key"})
    assert "access-control-allow-origin" not in other.headers


def test_any_page_may_ask_with_a_star(start_gateway: StartGateway) -> None:
    client = start_gateway(cors_origins=("*",)).client
    assert preflight(client, "https://anything.test").status_code == 200
    assert client.get("/v1/models", headers={"origin": "null"}).headers["access-control-allow-origin"] == "*"


def test_unless_told_otherwise_no_page_may(start_gateway: StartGateway) -> None:
    client = start_gateway(api_key="key").client
    assert preflight(client, PAGE).status_code == 401
    answer = client.get("/v1/models", headers={"origin": PAGE, "authorization": "Bearer key"})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "origin", ["app.example.org", "https://a.test/", "https://a.test/x", "ftp://a.test", "null", "*.a"]
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(ValidationError, match=r"cors_origins\n.*must be origins, such as https://app\.example\.org"):
        GatewaySettings(cors_origins=(origin,))


def test_origins_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HELIOGRAPH_GATEWAY_CORS_ORIGINS", f"{PAGE}, http://localhost:3000")
    assert GatewaySettings(data_dir=tmp_path).cors_origins == (PAGE, "http://localhost:3000")
