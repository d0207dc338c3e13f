"""Fetching input images by URL. Nothing else in the gateway connects to a host that a request names."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpcore
import httpx

from heliograph_api.errors import APIError, invalid_request
from heliograph_api.images.inputs import FORMATS, sniff_image
from heliograph_gateway.body import Bodies, Body
from heliograph_gateway.fetching.errors import RefusedError
from heliograph_gateway.fetching.hosts import Target, allows, parse_rule, parse_target
from heliograph_gateway.fetching.sockets import CheckedBackend, Resolve, SystemResolver, looked_up_for
from heliograph_gateway.settings import GatewaySettings

logger = logging.getLogger(__name__)

_MOST_REDIRECTS = 3
_REDIRECTS = {301, 302, 303, 307, 308}
_TOGETHER_FOR_A_REQUEST = 4
_TOGETHER = 16
_TOGETHER_FOR_AN_OWNER = 8
_MOST_REQUESTS = 64
_MOST_REQUESTS_OF_AN_OWNER = 16
_RETRY_SECONDS = 5
_LONGEST_MAGIC = 12
_HEADERS = (
    ("accept", "image/png, image/jpeg, image/webp, image/gif"),
    ("accept-encoding", "identity"),
    ("connection", "close"),
    ("user-agent", "heliograph-gateway"),
)
_REMEDY = "send the image inline, as an upload, base64 or a data URL"


class Fetcher:
    """Fetches images from the hosts that the administrator allows."""

    def __init__(self, settings: GatewaySettings, *, resolve: Resolve | None = None) -> None:
        """Prepare to fetch; `resolve` takes the place of the machine's own resolver."""
        self._private_hosts = tuple(map(parse_rule, settings.image_url_private_hosts))
        self._hosts = (*map(parse_rule, settings.image_url_hosts), *self._private_hosts)
        self._most = settings.image_url_max_bytes
        # The runtime gets them in a request body, in base64.
        self._most_together = settings.max_body_bytes * 3 // 4
        self._seconds = settings.image_url_timeout
        self._resolver = SystemResolver()
        self._slots = asyncio.Semaphore(_TOGETHER)
        self._requests = 0
        self._owners: dict[str, _Owner] = {}
        # Of httpx only the certificates are wanted: it adds cookies, proxies of the environment and decompression.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context() if self._hosts else None,
            max_connections=_TOGETHER,
            max_keepalive_connections=0,
            network_backend=CheckedBackend(resolve or self._resolver, self._private_hosts),
        )

    async def aclose(self) -> None:
        """Close all connections."""
        self._resolver.close()
        await self._pool.aclose()

    async def fetch(self, wanted: Sequence[tuple[str, str]], *, into: Bodies, owner: str = "") -> list[Body]:
        """Return the images at some URLs of one request, in their order; whoever gets them closes them.

        Args:
            wanted: For each URL the field that it came in, and the URL.
            into: What the images are kept in, on the account of request bodies.
            owner: Name of the key that the request came with, whose requests are bounded; only the bounds for all of
                them count where no key is asked for.

        Raises:
            APIError: 400, one of them cannot be had; it names the field and nothing of what the host answered. 429, too
                many requests wait for such images. 503, there is no room for them.
        """
        budget = _Budget(self._most_together)
        slots = asyncio.Semaphore(_TOGETHER_FOR_A_REQUEST)
        async with self._place(owner) as owner_slots:

            async def fetch_one(field: str, url: str) -> Body:
                looked_up_for.set(owner)
                async with slots:
                    return await self._fetch(field, url, budget, _Keeping(into, owner_slots))

            tasks = [asyncio.create_task(fetch_one(field, url)) for field, url in wanted]
            try:
                return list(await asyncio.gather(*tasks))
            except BaseException:
                for task in tasks:
                    task.cancel()
                for found in await asyncio.gather(*tasks, return_exceptions=True):
                    if isinstance(found, Body):
                        found.close()
                raise

    @asynccontextmanager
    async def _place(self, owner: str) -> AsyncIterator[asyncio.Semaphore]:
        """Count a request as long as it is fetched for, and yield the connections of its owner."""
        mine = self._owners.get(owner) or _Owner(asyncio.Semaphore(_TOGETHER_FOR_AN_OWNER if owner else _TOGETHER))
        if self._requests >= _MOST_REQUESTS or (owner and mine.requests >= _MOST_REQUESTS_OF_AN_OWNER):
            raise APIError(
                429,
                f"Too many requests wait for images by URL; try again in {_RETRY_SECONDS} s, or {_REMEDY}.",
                code="queue_full",
                headers={"Retry-After": str(_RETRY_SECONDS)},
            )
        self._owners[owner] = mine
        self._requests += 1
        mine.requests += 1
        try:
            yield mine.slots
        finally:
            self._requests -= 1
            mine.requests -= 1
            if not mine.requests:
                del self._owners[owner]

    async def _fetch(self, field: str, url: str, budget: "_Budget", keeping: "_Keeping") -> Body:
        try:
            # What an image waits for the others' connections counts too: nobody is to be kept waiting for long.
            async with asyncio.timeout(self._seconds), keeping.slots, self._slots:
                return await self._follow(self._allowed(url), budget, keeping.bodies)
        except RefusedError as error:
            raise _unusable(field, error) from None
        except (TimeoutError, httpcore.TimeoutException):
            problem = f"could not be fetched within {self._seconds:g} seconds"
            raise _unusable(field, RefusedError("timeout", problem)) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            # httpcore raises its errors `from None`, which leaves the context.
            untrusted = isinstance(error.__context__, ssl.SSLCertVerificationError)
            problem = "names a host whose certificate is not trusted" if untrusted else "could not be reached"
            raise _unusable(field, RefusedError("unreachable", problem)) from None

    def _allowed(self, url: str) -> Target:
        if not self._hosts:
            problem = "URLs are not fetched here unless the administrator allows their hosts (image_url_hosts)"
            raise RefusedError("not_allowed", problem)
        target = parse_target(url)
        if not allows(self._hosts, target.host, target.port):
            shown = target.host if target.port in {80, 443} else f"{target.host} at port {target.port}"
            problem = f"is on {shown}, which the administrator has not allowed (image_url_hosts)"
            raise RefusedError("not_allowed", problem)
        return target

    async def _follow(self, target: Target, budget: "_Budget", bodies: Bodies) -> Body:
        found: Body | None = None
        try:
            for _ in range(_MOST_REDIRECTS + 1):
                url = httpcore.URL(
                    scheme=target.url.raw_scheme, host=target.host, port=target.port, target=target.url.raw_path
                )
                headers = [("host", target.authority), *_HEADERS]
                async with self._pool.stream("GET", url, headers=headers) as answer:
                    if answer.status in _REDIRECTS:
                        target = self._redirected(target, answer)
                    else:
                        found = await _read(answer, self._most, budget, bodies)
                if found is not None:
                    return found
        except BaseException:
            if found is not None:  # closing the connection takes a moment, in which this may be cancelled
                found.close()
            raise
        raise RefusedError("failed", f"redirects more than {_MOST_REDIRECTS} times")

    def _redirected(self, target: Target, answer: httpcore.Response) -> Target:
        problem = "redirects to a URL that nothing is fetched from"
        try:
            return self._allowed(str(target.url.join(_header(answer, b"location"))))
        except RefusedError as error:
            # Where to stays untold: it is a part of the answer.
            raise RefusedError(error.reason, problem) from None
        except (httpx.InvalidURL, UnicodeError):
            raise RefusedError("failed", problem) from None


@dataclass
class _Owner:
    """What the requests of one API key take."""

    slots: asyncio.Semaphore
    requests: int = 0


@dataclass(frozen=True)
class _Keeping:
    """Where an image goes, and the connections that it may take one of."""

    bodies: Bodies
    slots: asyncio.Semaphore


class _Budget:
    """The bytes that the images of one request may have together."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._left = most

    def take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise RefusedError("too_large", f"is too large beside the others: they may have {self._most} bytes in all")


async def _read(answer: httpcore.Response, most: int, budget: _Budget, bodies: Bodies) -> Body:
    """Return an image of at most `most` bytes; what is none is noticed before all of it has come."""
    if answer.status != 200:
        raise RefusedError("failed", f"was answered with status {answer.status}")
    if _header(answer, b"content-encoding").lower() not in {"", "identity"}:
        raise RefusedError("failed", "was answered with a compressed file, which was not asked for")
    length = _header(answer, b"content-length")
    _check_size(int(length) if length.isdecimal() else 0, most)
    body = Body(bodies)
    try:
        await _take(answer, body, most, budget)
    except BaseException:
        body.close()
        raise
    return body


async def _take(answer: httpcore.Response, body: Body, most: int, budget: _Budget) -> None:
    magic = b""
    async for part in answer.aiter_stream():
        magic += part[: _LONGEST_MAGIC - len(magic)]
        _check_size(len(body) + len(part), most)
        budget.take(len(part))
        if len(magic) == _LONGEST_MAGIC and sniff_image(magic) is None:
            break
        await body.append(part)
    if sniff_image(magic) is None:
        raise RefusedError("not_an_image", f"is no image; it must be {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    await body.end()


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise RefusedError("too_large", f"is too large: an image may have {most} bytes")


def _header(answer: httpcore.Response, name: bytes) -> str:
    return next((value.decode("latin-1").strip() for key, value in answer.headers if key.lower() == name), "")


def _unusable(field: str, error: RefusedError) -> APIError:
    logger.info("an image by URL is not fetched: %s", error.reason)
    return invalid_request(field, f"{error.problem}; {_REMEDY}.", code=f"image_url_{error.reason}")
