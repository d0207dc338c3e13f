"""Pictures by URL, as the gateway's users send them: whatever they name, nothing inside is reached.

Every packet that comes to a cloud's metadata service, to a cluster's addresses or over the loopback interface is
counted, at any port; at the end the same counters see connections that the test makes.
"""

import base64
import itertools
import json
import re
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from gateway.peers import answer
from gateway.picture_hosts import Names, PictureHost, allowed, fetch, refusal
from heliograph_api.images.inputs import FIELDS
from hostile.exchanges import EDITS, check_envelope, check_text, every_path
from hostile.netns_host import PNG, SECRET
from hostile.sites import Site
from hostile.sites import site as make_site
from hostile.ssrf_cases import NAMED, NAMELESS, PLACES, PUBLIC, at_port, locations

STATUSES = (301, 302, 303, 307, 308)
PICTURE_FIELDS = sorted(name for names in FIELDS.values() for name in names)
_TOGETHER = 8


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with make_site(tmp_path_factory.mktemp("site")) as made:
        yield made


def corpus(site: Site) -> list[str]:
    """Return every URL that this site can judge."""
    return [*NAMELESS, *at_port(site.port), *(NAMED if site.has_names else ())]


def edit(site: Site, url: str) -> httpx.Response:
    return site.client.post(EDITS, json={"prompt": "a", "image": url})


def expect_refusals(site: Site, urls: Iterable[str], *, statuses: Collection[int] = (400,)) -> None:
    """Ask for the pictures at some URLs; none may be had, and nothing may be reached for it."""
    urls, before = list(urls), len(site.runtime.seen)
    with ThreadPoolExecutor(_TOGETHER) as pool:
        answers = list(pool.map(lambda url: edit(site, url), urls))
    for url, refused in zip(urls, answers, strict=True):
        assert refused.status_code in statuses, f"{url}: {refused.status_code} {refused.text[:500]}"
        if refused.status_code != 200:
            check_refusal(refused, url)
    assert site.hits() == []
    assert not any(SECRET in base64.b64decode(json.loads(seen.body)["image"]) for seen in site.runtime.seen[before:])


def check_refusal(refused: httpx.Response, *sent: str) -> None:
    check_envelope(refused)
    check_text(refused.text, sent=[text.encode() for text in sent])
    assert SECRET.decode() not in refused.text


def test_a_picture_of_a_public_host_is_fetched(site: Site) -> None:
    for url in (site.picture, site.redirect(site.picture), site.redirect(site.redirect(site.picture, 308), 301)):
        before = len(site.runtime.seen)
        assert edit(site, url).status_code == 200
        (request,) = site.runtime.seen[before:]
        assert json.loads(request.body)["image"] == base64.b64encode(PNG).decode()


def test_there_are_enough_urls() -> None:
    assert len({*NAMELESS, *NAMED}) >= 168
    assert len(list(locations((*NAMELESS, *NAMED)))) >= 168


def test_no_url_leads_inside(site: Site) -> None:
    expect_refusals(site, corpus(site))


@pytest.mark.parametrize("status", STATUSES)
def test_no_redirect_leads_inside(site: Site, status: int) -> None:
    absolute: list[str] = []
    relative: list[str] = []
    for url in locations((*NAMELESS, *(NAMED if site.has_names else ()))):
        (absolute if re.match(r"\s*https?://[^/]", url, re.IGNORECASE) else relative).append(site.redirect(url, status))
    expect_refusals(site, absolute)
    # A location without a host stays at the public one.
    expect_refusals(site, relative, statuses=(200, 400))


def test_no_chain_of_redirects_leads_inside(site: Site) -> None:
    places = [*PLACES, f"http://127.0.0.2:{site.port}/"]
    expect_refusals(
        site,
        (
            site.redirect(site.redirect(url, second), first)
            for url, first, second in itertools.product(places, STATUSES, STATUSES)
        ),
    )


@pytest.mark.parametrize("field", PICTURE_FIELDS)
def test_no_field_leads_inside(site: Site, field: str) -> None:
    inline = {"prompt": "a"}
    if field not in FIELDS["images"]:
        inline["image"] = base64.b64encode(PNG).decode()
    urls = [*PLACES, f"http://127.0.0.2:{site.port}/", *map(site.redirect, PLACES)]
    for url in urls:
        for value in (url, [url], {"url": url}, [{"image_url": {"url": url}}]):
            refused = site.client.post(EDITS, json=inline | {field: value})
            assert refused.status_code == 400, f"{value}: {refused.text[:500]}"
            check_refusal(refused, url)
        for name in (field, f"{field}[]"):
            parts = {key: (None, value) for key, value in {**inline, name: url}.items()}
            refused = site.client.post(EDITS, files=parts)
            assert refused.status_code == 400, f"{name}: {refused.text[:500]}"
            check_refusal(refused, url)
    assert site.hits() == []
    # The field is one that pictures are fetched for.
    before = len(site.runtime.seen)
    assert site.client.post(EDITS, json=inline | {field: site.picture}).status_code == 200
    assert base64.b64encode(PNG).decode() in str(json.loads(site.runtime.seen[before].body)[field])


@pytest.mark.parametrize("path", every_path())
def test_no_path_leads_inside(site: Site, path: str) -> None:
    for url in (*PLACES, f"http://127.0.0.2:{site.port}/", *map(site.redirect, PLACES)):
        body: dict[str, Any] = {"prompt": "a"}
        body |= {"init_images": [url], "mask": url} if path.startswith("/sdapi") else {"image": url, "mask": url}
        refused = site.client.post(path, json=body)
        assert refused.status_code == 400, f"{url}: {refused.text[:500]}"
        check_refusal(refused, url)
    assert site.hits() == []


def test_a_name_that_is_public_at_first_leads_nowhere_else(site: Site) -> None:
    if not site.has_names:
        rebind_on_loopback()
        return
    for name in ("rebinding.test", "rebinding-inside.test"):
        # What was looked up is what is connected to; the next request looks it up again.
        assert edit(site, f"http://{name}/a.png").status_code == 200
        expect_refusals(site, [f"http://{name}/a.png"] * 20)
    again = site.redirect("http://rebinding-redirect.test/a.png", host="rebinding-redirect.test")
    expect_refusals(site, [again])
    with ThreadPoolExecutor(_TOGETHER) as pool:
        found = list(pool.map(lambda _: edit(site, "http://flapping.test/a.png").status_code, range(80)))
    assert set(found) == {200, 400}
    assert site.hits() == []


def rebind_on_loopback() -> None:
    """Let a resolver of the test's own answer in the fetcher's place: names of this machine's cannot be had."""
    picture = answer(200, PNG, content_type="image/png")
    with PictureHost(picture, host="127.0.0.2") as served, PictureHost(picture, host="127.0.0.3") as sink:
        names = Names({"rebinding.test": [["127.0.0.2"], ["127.0.0.3", PUBLIC]], "inside.test": [["127.0.0.3"]]})
        settings = allowed(served, name="rebinding.test") | {"image_url_hosts": f"*:{sink.port}"}
        assert fetch(("image", served.url("rebinding.test")), names=names, **settings) == [PNG]
        assert refusal(sink.url("inside.test"), names=names, **settings).code == "image_url_refused_address"
        assert refusal(sink.url("rebinding.test"), names=names, **settings).code == "image_url_refused_address"
        assert sink.connections == 0
