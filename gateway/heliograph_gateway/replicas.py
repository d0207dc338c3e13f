"""One request to one replica. The only module that knows the HTTP client of runtimes."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp
from yarl import URL

from heliograph_api.errors import QUEUE_FULL, APIError
from heliograph_api.targets import MISDIRECTED, TARGET_HEADER
from heliograph_api.tracing import Attributes, child_span, trace_headers
from heliograph_gateway.body import Body
from heliograph_gateway.connecting import AddressConnector
from heliograph_gateway.metrics import Metrics
from heliograph_gateway.names import Route
from heliograph_gateway.pace import as_retry_after
from heliograph_gateway.payloads import payload
from heliograph_gateway.record import REQUEST_ID_HEADER
from heliograph_gateway.routing import Endpoint
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.waiting import Wait

logger = logging.getLogger(__name__)

_MAX_CONNECTIONS = 4096
_READ_BYTES = 512 * 1024
"""How much of an answer is read ahead of its client."""
_MOST_ERROR_BYTES = 64 * 1024
_DO_NOT_RETRY = {"x-should-retry": "false"}


class NotConnectedError(Exception):
    """No connection to a replica of the model came about, so that none has anything of the request."""


class QueueFullError(Exception):
    """A replica has as many requests as it takes, and has not begun with this one.

    Attributes:
        refusal: What it answered.
    """

    def __init__(self, refusal: APIError) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


@dataclass(frozen=True)
class Order:
    """A request for a replica.

    Attributes:
        path: Its path.
        body: Its body.
        headers: Its headers, Content-Type among them.
        request_id: What it is called in logs, here and there.
        owner: Name of the key that it came with; owners take turns where requests wait.
        stream: Whether its answer is events, which begin before the work is done.
        wait: Told how it is held.
    """

    path: str
    body: bytes | Body
    headers: Mapping[str, str]
    request_id: str
    owner: str = ""
    stream: bool = False
    wait: Wait = field(default_factory=Wait)


@dataclass(frozen=True)
class Answer:
    """A successful answer of a replica, whose body is still to come.

    Attributes:
        status: Its status, 200 to 299.
        headers: Its headers; names are found in any case.
        parts: Its body as it comes, not decoded; read once.
    """

    status: int
    headers: Mapping[str, str]
    parts: AsyncIterator[bytes]


class Replicas:
    """The HTTP client that all requests to runtimes share."""

    def __init__(self, settings: GatewaySettings, metrics: Metrics) -> None:
        """Make the client.

        Args:
            settings: The gateway's settings.
            metrics: Where failures are counted.
        """
        self._metrics = metrics
        self._connect_timeout = settings.connect_timeout
        self._read_timeout = settings.read_timeout
        self._max_answer = settings.max_answer_bytes
        # It belongs to the event loop that it is made in.
        self._session: aiohttp.ClientSession | None = None
        self._open = 0

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session:
            await self._session.close()

    @asynccontextmanager
    async def answer(self, endpoint: Endpoint, route: Route, order: Order) -> AsyncIterator[Answer]:
        """Yield the successful answer of one replica, asked once.

        When the block is left early the connection is closed, which is how a runtime learns that nobody waits for the
        work.

        Args:
            endpoint: The replica.
            route: Its model, for errors and metrics.
            order: The request.

        Raises:
            NotConnectedError: The request has surely not reached a replica of the model.
            QueueFullError: The replica has no room for the request.
            APIError: The replica's own error if it has the envelope; else 502, 503 or 504, whenever the answer breaks
                off too. What may have reached the replica says that nobody should repeat it.
        """
        about: Attributes = {
            "http.request.method": "POST",
            "server.address": endpoint.host,
            "server.port": endpoint.port,
        }
        with self._room(), child_span("POST", about, call=True) as span, self._blamed(endpoint, route, order):
            async with self._asked(endpoint, route, order) as answer:
                if span:
                    span.set_attribute("http.response.status_code", answer.status)
                if answer.status == MISDIRECTED:
                    # It has begun nothing: its address was a replica's, and is another model's by now.
                    self._count(endpoint, route, order, "misdirected")
                    raise NotConnectedError
                if not 200 <= answer.status < 300:
                    refusal = await _refusal(answer, route.model.model_id)
                    raise QueueFullError(refusal) if _is_full(refusal) else refusal
                content = _all_that_came(answer.content) if order.stream else answer.content.iter_any()
                parts = _bounded(content, self._max_answer, route.model.model_id)
                yield Answer(answer.status, answer.headers, parts)

    @asynccontextmanager
    async def _asked(self, endpoint: Endpoint, route: Route, order: Order) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield the answer of a replica whatever it is, and close the connection afterwards."""
        self._session = self._session or self._new_session()
        # A body may be on its way when the answer has begun.
        async with asyncio.timeout(None) as limit:
            answer = await self._session.post(
                URL(endpoint.url + order.path, encoded=True),
                data=await payload(order.body, limit),
                headers={
                    **order.headers,
                    **trace_headers(),
                    REQUEST_ID_HEADER: order.request_id,
                    TARGET_HEADER: route.target,
                    "content-length": str(len(order.body)),
                },
                allow_redirects=False,
            )
            try:
                yield answer
            finally:
                answer.close()

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            # A request that finds its replica gone has surely not reached it if the connection is new, and may go to
            # another one. A connection that was kept open leaves that in doubt.
            connector=AddressConnector(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout, sock_read=self._read_timeout),
            headers={"user-agent": "heliograph-gateway", "accept-encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=_READ_BYTES,
        )

    @contextmanager
    def _room(self) -> Iterator[None]:
        """Count a request at work, or refuse it."""
        if self._open >= _MAX_CONNECTIONS:
            raise APIError(
                503, "The gateway is at its limit of requests.", code="overloaded", headers={"Retry-After": "5"}
            )
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    @contextmanager
    def _blamed(self, endpoint: Endpoint, route: Route, order: Order) -> Iterator[None]:
        """Turn what the client of the `with` block raises into what it means."""
        name = route.model.model_id
        try:
            yield
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            self._count(endpoint, route, order, "connect", error)
            raise NotConnectedError from error
        except TimeoutError as error:
            self._count(endpoint, route, order, "timeout", error)
            raise APIError(
                504, f"The model '{name}' did not answer in time.", code="upstream_timeout", headers=dict(_DO_NOT_RETRY)
            ) from error
        except aiohttp.ClientError as error:
            self._count(endpoint, route, order, "broken", error)
            raise APIError(
                502, f"The model '{name}' failed at the request.", code="upstream_failed", headers=dict(_DO_NOT_RETRY)
            ) from error

    def _count(
        self, endpoint: Endpoint, route: Route, order: Order, reason: str, error: Exception | None = None
    ) -> None:
        self._metrics.count_upstream_error(route, reason)
        problem = f"{reason}, {type(error).__name__}" if error else reason
        logger.warning("id=%s model=%s %s: %s", order.request_id, route.qualified_name, endpoint.url, problem)


async def _all_that_came(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield the parts of a body, and raise the client's error only behind all that came before it."""
    try:
        async for part in content.iter_any():
            yield part
    except (aiohttp.ClientError, TimeoutError):
        # Whatever is public raises before it gives what is buffered.
        if rest := content._read_nowait(-1):  # noqa: SLF001
            yield rest
        raise


async def _bounded(parts: AsyncIterator[bytes], most: int, model: str) -> AsyncIterator[bytes]:
    """Yield the parts of a body; raise `APIError` (502) once they are more than `most` bytes."""
    size = 0
    async for part in parts:
        size += len(part)
        if size > most:
            raise APIError(
                502,
                f"The model '{model}' answered with more than {most} bytes (max_answer_bytes).",
                code="upstream_error",
                headers=dict(_DO_NOT_RETRY),
            )
        yield part


async def _refusal(answer: aiohttp.ClientResponse, model: str) -> APIError:
    """Return a runtime's error as it is if it has the envelope; one that has, if not."""
    content = await _beginning(answer)
    is_error = 400 <= answer.status < 600
    status = answer.status if is_error else 502
    headers = {name: answer.headers[name] for name in ("retry-after", "x-should-retry") if name in answer.headers}
    if "retry-after" in headers:
        headers["retry-after"] = as_retry_after(headers["retry-after"])
    # With Retry-After a runtime refuses work before it begins. Else the work failed, and may fail that way again.
    if status >= 500 and "retry-after" not in headers:
        headers = _DO_NOT_RETRY | headers
    if is_error and (error := _envelope(content)):
        return APIError(status, headers=headers, **error)
    return APIError(
        status,
        f"The model '{model}' answered {answer.status} without saying why.",
        code="upstream_error",
        headers=headers,
    )


def _is_full(refusal: APIError) -> bool:
    """Return whether a runtime has no room in its queue, which it looks at before it begins with a request."""
    return refusal.status == HTTPStatus.TOO_MANY_REQUESTS and refusal.code == QUEUE_FULL


async def _beginning(answer: aiohttp.ClientResponse) -> bytes:
    """Return the body of an error, of which no more is read than an error can be long."""
    content = bytearray()
    async for part in answer.content.iter_any():
        content += part
        if len(content) > _MOST_ERROR_BYTES:
            break
    return bytes(content[:_MOST_ERROR_BYTES])


def _envelope(content: bytes) -> dict[str, str] | None:
    """Return the parts of an error in OpenAI's envelope, or None."""
    try:
        error = json.loads(content)["error"]
        found = {key: error[key] for key in ("message", "type", "param", "code")}
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return found if isinstance(found["message"], str) else None
