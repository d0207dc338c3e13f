"""Passing requests on to the replicas of a model. The only module that knows the HTTP client."""

import asyncio
import json
import logging

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from heliograph_api.errors import APIError
from heliograph_gateway.boundary import REQUEST_ID_HEADER, record_of
from heliograph_gateway.metrics import Metrics
from heliograph_gateway.names import Route
from heliograph_gateway.routing import Endpoint, RoutingTable
from heliograph_gateway.settings import GatewaySettings

logger = logging.getLogger(__name__)

# Lists of what passes, not of what is held back: neither the client's credentials, cookies and claims about where it
# comes from, nor a runtime's cookies, redirects and hop-by-hop headers, are on them.
_REQUEST_HEADERS = ("accept", "content-type", "traceparent", "tracestate")
_RESPONSE_HEADERS = (
    "cache-control", "content-encoding", "content-length", "content-type", "retry-after", "retry-after-ms",
    "x-should-retry",
)  # fmt: skip

_MAX_CONNECTIONS = 4096
_WRITE_SECONDS = 60.0
_MOST_ERROR_BYTES = 64 * 1024
_DO_NOT_RETRY = {"x-should-retry": "false"}


class Upstream:
    """The HTTP client that all requests to runtimes share."""

    def __init__(self, routes: RoutingTable, settings: GatewaySettings, metrics: Metrics) -> None:
        """Pick replicas from `routes`, and count failures in `metrics`."""
        self.routes = routes
        self.metrics = metrics
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

    def forward(self, request: Request, body: bytes, route: Route) -> Response:
        """Return the answer that one of a model's replicas will give to a request.

        The body goes out unchanged and the answer comes back unbuffered. When the client leaves, the connection to the
        replica is closed, which is how a runtime learns that nobody waits for the work.
        """
        return _Forwarded(self, request, body, route)


class _Forwarded(Response):
    """An answer that is fetched from a replica while it is sent.

    Fetching it sooner would leave nobody to give the replica back if this is never sent.
    """

    def __init__(self, upstream: Upstream, request: Request, body: bytes, route: Route) -> None:
        super().__init__()
        self._upstream = upstream
        self._path = request.url.path
        self._content = body
        self._route = route
        self._record = record_of(request.scope)
        self._request_headers = {name: request.headers[name] for name in _REQUEST_HEADERS if name in request.headers}
        self._request_headers[REQUEST_ID_HEADER] = self._record.request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        relay = asyncio.create_task(self._relay(scope, receive, send))
        departure = asyncio.create_task(_departure(receive))
        try:
            await asyncio.wait((relay, departure), return_when=asyncio.FIRST_COMPLETED)
            if relay.done():
                await relay
        finally:
            relay.cancel()
            departure.cancel()
            await asyncio.gather(relay, departure, return_exceptions=True)

    async def _relay(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Relay the answer of the first replica that can be connected to; each is tried at most once."""
        tried: list[Endpoint] = []
        while True:
            with self._upstream.routes.pick(self._route, exclude=tried) as endpoint:
                try:
                    await self._relay_from(endpoint, scope, receive, send)
                except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                    self._count(endpoint, "connect", error)
                    tried.append(endpoint)
                else:
                    return

    async def _relay_from(self, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        """Relay the answer of one replica; httpx's connection errors pass, since nothing has reached it then."""
        stream = self._upstream.client.stream(
            "POST", endpoint.url + self._path, content=self._content, headers=self._request_headers
        )
        try:
            async with stream as answer:
                if answer.is_success:
                    await _send_on(answer, send)
                else:
                    await (await self._refusal(answer))(scope, receive, send)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise
        except httpx.PoolTimeout as error:
            self._count(endpoint, "connect", error)
            raise APIError(
                503, "The gateway is at its limit of requests.", code="overloaded", headers={"Retry-After": "5"}
            ) from error
        except httpx.TimeoutException as error:
            self._count(endpoint, "timeout", error)
            self._give_up(504, "did not answer in time", "upstream_timeout")
        except httpx.HTTPError as error:
            self._count(endpoint, "broken", error)
            self._give_up(502, "failed at the request", "upstream_failed")

    def _give_up(self, status: int, what: str, code: str) -> None:
        """Raise the error for a request that may have reached the replica, which is why nobody should repeat it.

        When part of an answer was sent, there is no status left to give: the connection is cut instead.
        """
        if self._record.status is None:
            name = self._route.model.model_id
            raise APIError(status, f"The model '{name}' {what}.", code=code, headers=_DO_NOT_RETRY)

    def _count(self, endpoint: Endpoint, reason: str, error: httpx.HTTPError) -> None:
        self._upstream.metrics.count_upstream_error(self._route, reason)
        logger.warning(
            "id=%s model=%s %s: %s, %s",
            self._record.request_id,
            self._route.qualified_name,
            endpoint.url,
            reason,
            type(error).__name__,
        )

    async def _refusal(self, answer: httpx.Response) -> Response:
        """Return a runtime's error as it is if it has the envelope; raise one that has, if not."""
        content = await _beginning(answer)
        status = answer.status_code if answer.is_error else 502
        headers = {name: answer.headers[name] for name in ("retry-after", "x-should-retry") if name in answer.headers}
        # With Retry-After a runtime refuses work before it begins. Else the work failed, and may fail that way again.
        if status >= 500 and "retry-after" not in headers:
            headers = _DO_NOT_RETRY | headers
        if answer.is_error and _is_envelope(content):
            return Response(content, status, headers, media_type="application/json")
        raise APIError(
            status,
            f"The model '{self._route.model.model_id}' answered {answer.status_code} without saying why.",
            code="upstream_error",
            headers=headers,
        )


async def _send_on(answer: httpx.Response, send: Send) -> None:
    headers = [
        (name.encode(), answer.headers[name].encode("latin-1")) for name in _RESPONSE_HEADERS if name in answer.headers
    ]
    await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
    async for part in answer.aiter_raw():
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _beginning(answer: httpx.Response) -> bytes:
    """Return the body of an error, of which no more is read than an error can be long."""
    content = bytearray()
    async for part in answer.aiter_raw():
        content += part
        if len(content) > _MOST_ERROR_BYTES:
            break
    return bytes(content[:_MOST_ERROR_BYTES])


def _is_envelope(content: bytes) -> bool:
    try:
        error = json.loads(content)["error"]
        return isinstance(error["message"], str) and error.keys() >= {"type", "param", "code"}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return False


async def _departure(receive: Receive) -> None:
    """Wait until the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
