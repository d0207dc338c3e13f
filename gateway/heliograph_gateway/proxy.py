"""Asking the replicas of a model. The only module that knows the HTTP client of runtimes."""

import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus

import httpx

from heliograph_api.errors import QUEUE_FULL, APIError
from heliograph_gateway.boundary import REQUEST_ID_HEADER
from heliograph_gateway.holding import Hold
from heliograph_gateway.load import Loads
from heliograph_gateway.metrics import Metrics
from heliograph_gateway.names import Route
from heliograph_gateway.routing import Endpoint, RoutingTable
from heliograph_gateway.settings import GatewaySettings

logger = logging.getLogger(__name__)

_MAX_CONNECTIONS = 4096
_WRITE_SECONDS = 60.0
_MOST_ERROR_BYTES = 64 * 1024
_DO_NOT_RETRY = {"x-should-retry": "false"}


class _QueueFullError(Exception):
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
    """

    path: str
    body: bytes
    headers: Mapping[str, str]
    request_id: str


class Upstream:
    """The HTTP client that all requests to runtimes share."""

    def __init__(
        self, routes: RoutingTable, settings: GatewaySettings, metrics: Metrics, *, loads: Loads, hold: Hold | None
    ) -> None:
        """Make the client.

        Args:
            routes: Where replicas are picked from.
            settings: The gateway's settings.
            metrics: Where failures are counted.
            loads: Where requests are counted as long as they last.
            hold: Where requests wait for models that have no replica; none waits when absent.
        """
        self.routes = routes
        self.metrics = metrics
        self._loads = loads
        self._hold = hold
        self.client = httpx.AsyncClient(
            timeout=httpx.Timeout(
                connect=settings.connect_timeout,
                read=settings.read_timeout,
                write=_WRITE_SECONDS,
                pool=settings.connect_timeout,
            ),
            # A request that finds its replica gone has surely not reached it if the connection is new, and may go to
            # another one. A connection that was kept open leaves that in doubt.
            limits=httpx.Limits(max_connections=_MAX_CONNECTIONS, max_keepalive_connections=0),
            headers={"user-agent": "heliograph-gateway", "accept-encoding": "identity", "connection": "close"},
            trust_env=False,
            follow_redirects=False,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self.client.aclose()

    @asynccontextmanager
    async def answer(self, route: Route, order: Order) -> AsyncIterator[httpx.Response]:
        """Yield the successful answer of the first replica that can be connected to and has room for the request.

        Each is tried at most once, but for those of a model that is scaled by itself: such a one is woken and waited
        for, as is room in the queue of a replica. The answer's body is read by the caller. When the caller leaves early
        the connection is closed, which is how a runtime learns that nobody waits for the work.

        Raises:
            APIError: The replica's own error if it has the envelope; else 502, 503 or 504, whenever the answer breaks
                off too, and what the hold raises. What may have reached a replica says that nobody should repeat it.
        """
        tried: set[Endpoint] = set()
        refusal: APIError | None = None
        with self._loads.request(route):
            deadline = 0.0
            if self._hold:
                deadline = self._hold.deadline()
                await self._hold.behind_others(route, size=len(order.body), deadline=deadline)
            while True:
                if refusal and not self.routes.is_ready(route, exclude=tried):
                    await self._until_room(route, tried, refusal=refusal, size=len(order.body), deadline=deadline)
                    refusal = None
                if self._hold:
                    route = await self._hold.until_ready(route, tried, size=len(order.body), deadline=deadline)
                with self.routes.pick(route, exclude=tried) as endpoint:
                    try:
                        with self._room_afterwards(route):
                            async with self._answer_of(endpoint, route, order) as answer:
                                yield answer
                                return
                    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                        self._count(endpoint, route, order, "connect", error)
                    except _QueueFullError as error:
                        refusal = error.refusal
                    tried.add(endpoint)

    async def _until_room(
        self, route: Route, tried: set[Endpoint], *, refusal: APIError, size: int, deadline: float
    ) -> None:
        if self._hold is None:
            raise refusal
        await self._hold.until_room(route, tried, refusal=refusal, size=size, deadline=deadline)

    @contextmanager
    def _room_afterwards(self, route: Route) -> Iterator[None]:
        """Tell the hold when the request of the `with` block is over, unless no replica took it."""
        taken = True
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout, _QueueFullError):
            taken = False
            raise
        finally:
            if taken and self._hold:
                self._hold.made_room(route)

    @asynccontextmanager
    async def _answer_of(self, endpoint: Endpoint, route: Route, order: Order) -> AsyncIterator[httpx.Response]:
        """Yield the answer of one replica; httpx's connection errors pass, since nothing has reached it then.

        Raises:
            _QueueFullError: The replica has no room for the request.
        """
        headers = {**order.headers, REQUEST_ID_HEADER: order.request_id}
        stream = self.client.stream("POST", endpoint.url + order.path, content=order.body, headers=headers)
        name = route.model.model_id
        try:
            async with stream as answer:
                if not answer.is_success:
                    refusal = await _refusal(answer, name)
                    raise _QueueFullError(refusal) if _is_full(refusal) else refusal
                yield answer
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise
        except httpx.PoolTimeout as error:
            self._count(endpoint, route, order, "connect", error)
            raise APIError(
                503, "The gateway is at its limit of requests.", code="overloaded", headers={"Retry-After": "5"}
            ) from error
        except httpx.TimeoutException as error:
            self._count(endpoint, route, order, "timeout", error)
            raise APIError(
                504, f"The model '{name}' did not answer in time.", code="upstream_timeout", headers=dict(_DO_NOT_RETRY)
            ) from error
        except httpx.HTTPError as error:
            self._count(endpoint, route, order, "broken", error)
            raise APIError(
                502, f"The model '{name}' failed at the request.", code="upstream_failed", headers=dict(_DO_NOT_RETRY)
            ) from error

    def _count(self, endpoint: Endpoint, route: Route, order: Order, reason: str, error: httpx.HTTPError) -> None:
        self.metrics.count_upstream_error(route, reason)
        logger.warning(
            "id=%s model=%s %s: %s, %s",
            order.request_id,
            route.qualified_name,
            endpoint.url,
            reason,
            type(error).__name__,
        )


async def _refusal(answer: httpx.Response, model: str) -> APIError:
    """Return a runtime's error as it is if it has the envelope; one that has, if not."""
    content = await _beginning(answer)
    status = answer.status_code if answer.is_error else 502
    headers = {name: answer.headers[name] for name in ("retry-after", "x-should-retry") if name in answer.headers}
    # With Retry-After a runtime refuses work before it begins. Else the work failed, and may fail that way again.
    if status >= 500 and "retry-after" not in headers:
        headers = _DO_NOT_RETRY | headers
    if answer.is_error and (error := _envelope(content)):
        return APIError(status, headers=headers, **error)
    return APIError(
        status,
        f"The model '{model}' answered {answer.status_code} without saying why.",
        code="upstream_error",
        headers=headers,
    )


def _is_full(refusal: APIError) -> bool:
    """Return whether a runtime has no room in its queue, which it looks at before it begins with a request."""
    return refusal.status == HTTPStatus.TOO_MANY_REQUESTS and refusal.code == QUEUE_FULL


async def _beginning(answer: httpx.Response) -> bytes:
    """Return the body of an error, of which no more is read than an error can be long."""
    content = bytearray()
    async for part in answer.aiter_raw():
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
