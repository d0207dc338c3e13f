"""Files behind URLs."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx

from heliograph_runtime.weights.errors import FetchError
from heliograph_runtime.weights.remote import RemoteFile, RestartError

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_PASSING = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True, kw_only=True)
class HttpFile(RemoteFile):
    """A file behind a URL.

    Attributes:
        client: What asks for it.
        url: Its URL.
        headers: What is sent to that host, and to no other that it redirects to, such as credentials.
        version: Its entity tag, strong ones alone; empty when there is none.
        remedy: What to do when it may not be read.
    """

    client: httpx.Client = field(repr=False)
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    version: str = ""
    remedy: str = "name one that everybody may read"

    def read(self, start: int) -> Iterator[bytes]:
        """Yield the file from a byte on; see `RemoteFile.read`."""
        headers = {"accept-encoding": "identity", **self.headers}
        if start:
            headers["range"] = f"bytes={start}-"
            if self.version:
                headers["if-range"] = self.version
        with answering(self.field, self.url), self.client.stream("GET", self.url, headers=headers) as answer:
            if start and answer.status_code in {200, 412, 416}:
                raise RestartError
            check_answer(answer, field=self.field, name=self.name, remedy=self.remedy)
            if start:
                found = _RANGE.fullmatch(answer.headers.get("content-range", ""))
                if not found or int(found[1]) != start:
                    raise RestartError
            # Pieces as they come: of one that is put together from several, what there is would be lost with the rest.
            yield from answer.iter_raw()


def find_http_file(
    client: httpx.Client,
    url: str,
    *,
    field: str,
    target: str,
    sha256: str | None,
    headers: Mapping[str, str] | None = None,
) -> HttpFile:
    """Return the file behind a URL, of which the host is asked first.

    Raises:
        FetchError: There is none, or the host does not answer.
    """
    sent = {"accept-encoding": "identity", **(headers or {})}
    name = urlsplit(url).path
    # Not HEAD, which some hosts of signed URLs refuse; the body is left unread.
    with answering(field, url), client.stream("GET", url, headers={**sent, "range": "bytes=0-0"}) as answer:
        if answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise FetchError("WeightsNotFound", f"{field}: {_where(url)} is an empty file; name another")
        check_answer(answer, field=field, name=name)
        tag = answer.headers.get("etag", "")
        whole = _RANGE.fullmatch(answer.headers.get("content-range", ""))
        length = whole[2] if whole else answer.headers.get("content-length", "") if answer.status_code == 200 else ""
        changed = answer.headers.get("last-modified", "")
    return HttpFile(
        field=field,
        target=target,
        name=name,
        identity=f"{url} {tag or changed} {length}",
        size=int(length) if length.isdigit() else None,
        sha256=sha256,
        client=client,
        url=url,
        headers=headers or {},
        version="" if tag.startswith("W/") else tag,
    )


@contextmanager
def answering(field: str, url: str) -> Iterator[None]:
    """Turn what keeps a host from answering into a `FetchError` that may pass."""
    try:
        yield
    except httpx.TimeoutException:
        raise FetchError("SourceUnreachable", f"{field}: {_where(url)} does not answer in time", passes=True) from None
    except httpx.UnsupportedProtocol:
        raise FetchError("InvalidSource", f"{field}: {_where(url)} redirects to what is no http(s) URL") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        why = type(error).__name__
        raise FetchError("SourceUnreachable", f"{field}: {_where(url)} can't be reached ({why})", passes=True) from None


def check_answer(answer: httpx.Response, *, field: str, name: str, remedy: str = HttpFile.remedy) -> None:
    """Raise the `FetchError` that an answer stands for, unless it is a success.

    Args:
        answer: The answer.
        field: Field of the ImageModel to blame.
        name: What was asked for.
        remedy: What to do when it may not be read.
    """
    status, where = answer.status_code, _where(str(answer.request.url))
    if answer.is_success:
        return
    if status in {401, 403}:
        raise FetchError(
            "WeightsUnauthorized",
            f"{field}: {where} answers {status} for {name}: it may not be read; {remedy}",
        )
    if status in {404, 410}:
        raise FetchError("WeightsNotFound", f"{field}: {where} has no {name}; correct the name or the revision")
    raise FetchError(
        "SourceUnreachable", f"{field}: {where} answers {status} for {name}; try again later", passes=status in _PASSING
    )


def _where(url: str) -> str:
    """Return the host of a URL; the rest of it may hold a signature."""
    return urlsplit(url).netloc.rpartition("@")[2]
