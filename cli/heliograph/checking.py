"""`heliograph check`: whether a gateway answers, and what is wrong where it does not."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click
import httpx

from heliograph_gateway.health import READINESS_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODELS_PATH = "/v1/models"
_ANSWER_SECONDS = 10.0
_SHOWN_MODELS = 20


class CheckError(Exception):
    """A gateway is not well; the message names the request, what came of it and what to do."""


def check(url: str, *, api_key: str, wait: float, insecure: bool) -> int:
    """Ask a gateway whether it takes requests and which models it has, say so, and return the exit status.

    Args:
        url: Where it is, such as http://127.0.0.1:8080.
        api_key: Key that the requests carry; none when empty.
        wait: Seconds that it may take to become ready.
        insecure: Whether any certificate will do.

    Raises:
        click.UsageError: When the URL is none of HTTP.
    """
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        raise click.UsageError(f"URL: {url!r} is no URL of HTTP; write one such as http://127.0.0.1:8080")
    base, key = url.rstrip("/"), api_key.strip()
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        with httpx.Client(headers=headers, timeout=_ANSWER_SECONDS, verify=not insecure) as client:
            for line in _findings(client, base, wait=wait, carries_key=bool(key)):
                click.echo(line)
    except CheckError as error:
        click.echo(f"heliograph check: {error}", err=True)
        return 1
    return 0


def _findings(client: httpx.Client, base: str, *, wait: float, carries_key: bool) -> Iterator[str]:
    _wait_until_ready(client, f"{base}{READINESS_PATH}", wait)
    yield f"{base}{READINESS_PATH}: the gateway takes requests"
    url = f"{base}{_MODELS_PATH}"
    answer = _ask(client, url)
    if answer.status_code == HTTPStatus.UNAUTHORIZED and not carries_key:
        yield f"{url}: a key is asked for, as it should be; none was given, so that the models were not read"
        return
    yield f"{url}: {_models(url, answer)}"
    if not carries_key:
        yield f"{url}: no key is asked for, so that whoever reaches the gateway may draw"


def _wait_until_ready(client: httpx.Client, url: str, wait: float) -> None:
    deadline = time.monotonic() + wait
    while True:
        try:
            answer = _ask(client, url)
            if answer.status_code == HTTPStatus.OK:
                return
            problem = CheckError(f"{_refusal(url, answer)} The gateway's log says more.")
        except CheckError as error:
            problem = error
        if time.monotonic() > deadline:
            raise problem
        time.sleep(min(1.0, wait))


def _ask(client: httpx.Client, url: str) -> httpx.Response:
    try:
        return client.get(url)
    except httpx.TimeoutException:
        raise CheckError(f"{url} gave no answer in {_ANSWER_SECONDS:g} seconds; look at the gateway's log.") from None
    except httpx.HTTPError as error:
        raise CheckError(
            f"{url} could not be reached: {error}. See whether the gateway's pods are ready, and whether a proxy, a "
            "firewall or a NetworkPolicy is in the way."
        ) from None


def _models(url: str, answer: httpx.Response) -> str:
    """Return which models an answer lists.

    Raises:
        CheckError: When it is no list of models.
    """
    if answer.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise CheckError(f"{_refusal(url, answer)} Give one of the gateway's keys that has the scope `models`.")
    if answer.status_code != HTTPStatus.OK:
        raise CheckError(_refusal(url, answer))
    try:
        models = [f"{entry['id']} ({entry['heliograph']['state']})" for entry in answer.json()["data"]]
    except (ValueError, KeyError, TypeError):
        raise CheckError(
            f"{url} answered something else than a list of models; is a gateway of Heliograph there?"
        ) from None
    shown = models[:_SHOWN_MODELS]
    if len(models) > _SHOWN_MODELS:
        shown.append(f"{len(models) - _SHOWN_MODELS} more")
    return f"{len(models)} {'model' if len(models) == 1 else 'models'}{': ' if shown else ''}{', '.join(shown)}"


def _refusal(url: str, answer: httpx.Response) -> str:
    """Return what an answer other than 200 says: its status, and the envelope's message or where it leads."""
    try:
        said = str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        said = f"It leads to {answer.headers['location']}." if "location" in answer.headers else ""
    return f"{url} answered {answer.status_code}. {said}".rstrip()
