"""Asking the replicas of a model. The only module that knows the HTTP client of runtimes."""

import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from heliograph_api.errors import APIError
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
        """Yield the successful answer of the first replica that can be connected to; each is tried at most once.

        A model that is scaled by itself is woken and waited for when there is none. The answer's body is read by the
        caller. When the caller leaves early the connection is closed, which is how a runtime learns that nobody waits
        for the work.

        Raises:
            APIError: The replica's own error if it has the envelope; else 502, 503 or 504, whenever the answer breaks
                off too, and what the hold raises. What may have reached a replica says that nobody should repeat it.
        """
        tried: set[Endpoint] = set()
        with self._loads.request(route):
            deadline = self._hold.deadline() if self._hold else 0.0
            while True:
                if self._hold:
                    route = await self._hold.until_ready(route, tried, size=len(order.body), deadline=deadline)
                with self.routes.pick(route, exclude=tried) as endpoint:
                    try:
                        async with self._answer_of(endpoint, route, order) as answer:
                            yield answer
                            return
                    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                        self._count(endpoint, route, order, "connect", error)
                        tried.add(endpoint)

    @asynccontextmanager
    async def _answer_of(self, endpoint: Endpoint, route: Route, order: Order) -> AsyncIterator[httpx.Response]:
        """Yield the answer of one replica; httpx's connection errors pass, since nothing has reached it then."""
        headers = {**order.headers, REQUEST_ID_HEADER: order.request_id}
        stream = self.client.stream("POST", endpoint.url + order.path, content=order.body, headers=headers)
        name = route.model.model_id
        try:
            async with stream as answer:
                if not answer.is_success:
                    raise await _refusal(answer, name)
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
