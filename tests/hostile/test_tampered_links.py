"""Links to pictures that somebody changed: the signature holds for one path and one time alone."""

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from contract.models import only_diffusers
from hostile.exchanges import GENERATIONS, check_answer
from hostile.stacks import Stack

pytestmark = [only_diffusers, pytest.mark.usefixtures("unharmed", "same_worker")]

Tamper = Callable[[str, str, str], str]


def _flipped(text: str, place: int) -> str:
    return text[:place] + ("0" if text[place] != "0" else "1") + text[place + 1 :]


TAMPERED: dict[str, Tamper] = {
    "another first digit": lambda path, expires, signature: (
        f"{path}?expires={expires}&signature={_flipped(signature, 0)}"
    ),
    "another last digit": lambda path, expires, signature: (
        f"{path}?expires={expires}&signature={_flipped(signature, 63)}"
    ),
    "a digit less": lambda path, expires, signature: f"{path}?expires={expires}&signature={signature[:-1]}",
    "a digit more": lambda path, expires, signature: f"{path}?expires={expires}&signature={signature}0",
    "capitals": lambda path, expires, signature: f"{path}?expires={expires}&signature={signature.upper()}",
    "a NUL behind it": lambda path, expires, signature: f"{path}?expires={expires}&signature={signature}%00",
    "no signature": lambda path, expires, _: f"{path}?expires={expires}",
    "two signatures, the last empty": lambda p, e, s: f"{p}?expires={e}&signature={s}&signature=",
    "a list of signatures": lambda path, expires, signature: f"{path}?expires={expires}&signature[]={signature}",
    "a later expiry": lambda path, expires, signature: f"{path}?expires={int(expires) + 1}&signature={signature}",
    "an expiry with a zero before it": lambda path, expires, signature: (
        f"{path}?expires=0{expires}&signature={signature}"
    ),
    "an expiry with a blank": lambda path, expires, signature: f"{path}?expires={expires}%20&signature={signature}",
    "an expiry with a line": lambda path, expires, signature: f"{path}?expires={expires}%0a&signature={signature}",
    "no expiry": lambda path, _, signature: f"{path}?signature={signature}",
    "two expiries": lambda path, expires, signature: (
        f"{path}?expires={expires}&expires=9999999999&signature={signature}"
    ),
    "another name": lambda path, expires, signature: f"{path[:-4]}.mp4?expires={expires}&signature={signature}",
    "another file": lambda path, expires, signature: f"{_flipped(path, 30)}?expires={expires}&signature={signature}",
    "a part of the path in the time": lambda p, e, s: f"{p[:-4]}?expires=.png%0a{e}&signature={s}",
    "a path that goes up": lambda p, e, s: (
        f"{p.replace('/download/', '/download/../download/')}?expires={e}&signature={s}"
    ),
}


@pytest.fixture(scope="module")
def link(stack: Stack) -> tuple[str, str, str]:
    """The path, expiry and signature of a link to a picture."""
    asked = {"prompt": "a red circle on a white background", "size": "64x64", "response_format": "url"}
    answer = stack.client.post(GENERATIONS, json=asked)
    assert answer.status_code == 200, answer.text
    url = urlsplit(answer.json()["data"][0]["url"])
    query = parse_qs(url.query)
    assert stack.client.get(f"{url.path}?{url.query}").status_code == 200
    return url.path, query["expires"][0], query["signature"][0]


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_link_opens_nothing(stack: Stack, link: tuple[str, str, str], name: str) -> None:
    target = TAMPERED[name](*link)
    answer = stack.client.get("/", extensions={"target": target.encode()})

    assert answer.status_code in {403, 404}, answer.text[:2000]
    check_answer(answer, sent=[target.encode()])
