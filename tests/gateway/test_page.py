"""The pages as files: their types, the rules that come with them, and that they are there for everybody, or nobody."""

import re
from pathlib import Path

import httpx
import pytest

import heliograph_gateway.page
from gateway.running import StartGateway

STATIC = Path(heliograph_gateway.page.__file__).parent / "static"
FILES = sorted(str(path.relative_to(STATIC)) for path in STATIC.rglob("*") if path.is_file())
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@pytest.fixture
def client(start_gateway: StartGateway) -> httpx.Client:
    return start_gateway(api_key="a key that pages do not need").client


@pytest.mark.parametrize(("path", "file"), [("/", "playground.html"), ("/admin", "admin.html")])
def test_pages_answer_without_a_key(client: httpx.Client, path: str, file: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 200
    assert answer.content == (STATIC / file).read_bytes()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_every_file_is_served_with_its_type_and_the_rules(client: httpx.Client) -> None:
    assert len(FILES) > 20
    for name in FILES:
        answer = client.get(f"/page/{name}")

        assert answer.content == (STATIC / name).read_bytes()
        assert answer.headers["content-type"].partition(";")[0] == TYPES[name.rpartition(".")[2]]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")


def test_the_policy_lets_nothing_from_elsewhere_in(client: httpx.Client) -> None:
    policy = dict(rule.split(" ", 1) for rule in client.get("/").headers["content-security-policy"].split("; "))

    assert policy["default-src"] == "'none'"
    assert {source for rule in policy.values() for source in rule.split()} == {
        "'none'", "'self'", "'script'", "blob:", "data:",
    }  # fmt: skip
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"


def test_a_file_that_is_known_is_not_sent_again(client: httpx.Client) -> None:
    first = client.get("/page/playground/main.js")
    for tag in (first.headers["etag"], f'"other", W/{first.headers["etag"]}', "*"):
        again = client.get("/page/playground/main.js", headers={"If-None-Match": tag})

        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    other = client.get("/page/playground/main.js", headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.content) == (200, first.content)


def test_head_tells_what_get_would(client: httpx.Client) -> None:
    asked, told = client.get("/"), client.head("/")

    assert told.status_code == 200
    assert told.content == b""
    for name in ("content-length", "content-type", "etag", "content-security-policy"):
        assert told.headers[name] == asked.headers[name]


@pytest.mark.parametrize(
    "path",
    ["/page/", "/page/none.js", "/page/../assets.py", "/page/%2e%2e/assets.py", "/page//etc/passwd", "/page/shared"],
)
def test_nothing_else_is_served(client: httpx.Client, path: str) -> None:
    request = client.build_request("GET", path)
    request.url = request.url.copy_with(raw_path=path.encode())

    answer = client.send(request)
    assert answer.status_code in {401, 404}
    assert "error" in answer.json()


def test_pages_can_be_turned_off(start_gateway: StartGateway) -> None:
    client = start_gateway(playground=False).client

    assert [client.get(path).status_code for path in ("/", "/admin", "/page/icon.svg")] == [404, 404, 404]
    assert client.get("/v1/models").status_code == 200


def test_the_files_hold_no_inline_code_and_name_no_other_place() -> None:
    for name in FILES:
        text = (STATIC / name).read_text(encoding="utf-8")
        places = set(re.findall(r"https?://[^\s\"'`)]+", text))
        assert places <= {"http://www.w3.org/2000/svg", "https://html.spec.whatwg.org/#server-sent-events"}, name
        if name.endswith(".html"):
            assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", text), name


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".js")])
def test_modules_are_small_and_import_what_is_there(name: str) -> None:
    text = (STATIC / name).read_text(encoding="utf-8")

    assert len(text.splitlines()) <= 300
    for imported in re.findall(r'from "(\.[^"]+)"', text):
        assert (STATIC / name).parent.joinpath(imported).is_file(), imported
