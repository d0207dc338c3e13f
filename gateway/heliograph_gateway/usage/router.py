"""GET /v1/usage, in the manner of OpenAI's usage API."""

from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request

from heliograph_api.errors import APIError
from heliograph_gateway.keys.caller import ADMIN, Caller, caller_of
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.usage.ledger import Ledger
from heliograph_gateway.usage.query import UsageQuery, page_name, read_query
from heliograph_gateway.usage.schema import USAGE_OPERATION
from heliograph_gateway.usage.sums import Total

PATH = "/v1/usage"


def usage_router(*, ledger: Ledger, routes: RoutingTable) -> APIRouter:
    """Return the route.

    Args:
        ledger: The record.
        routes: What a name of a model stands for.
    """
    router = APIRouter()

    async def usage(request: Request) -> dict[str, Any]:
        query = read_query(request.query_params)
        keys = _visible_keys(query, caller_of(request.scope))
        buckets = query.buckets()
        last = buckets[-1][1]
        totals = await ledger.totals(
            start=query.start,
            end=last,
            width=query.width,
            group_by=query.group_by,
            models=[_model(name, routes) for name in query.models],
            keys=keys,
        )
        by_bucket: dict[int, list[Total]] = {}
        for total in totals:
            by_bucket.setdefault(total.bucket, []).append(total)
        has_more = last < query.end
        return {
            "object": "page",
            "data": [
                {
                    "object": "bucket",
                    "start_time": start,
                    "end_time": end,
                    "results": [_result(total) for total in by_bucket.get(start // query.width, ())],
                }
                for start, end in buckets
            ],
            "has_more": has_more,
            "next_page": page_name(last) if has_more else None,
        }

    router.add_api_route(PATH, usage, methods=["GET"], openapi_extra=USAGE_OPERATION)
    return router


def _visible_keys(query: UsageQuery, caller: Caller) -> tuple[str, ...] | None:
    """Return the keys whose usage is shown; raise `APIError` (403) if one of them is not the caller's to see."""
    if ADMIN in caller.scopes:
        return query.keys
    if query.keys is not None and set(query.keys) != {caller.name}:
        raise APIError(
            403,
            f"keys: the key '{caller.name}' sees its own usage alone, since it lacks the scope '{ADMIN}'; leave keys "
            "out, or use a key that has the scope.",
            param="keys",
            code="insufficient_scope",
        )
    return (caller.name,)


def _model(name: str, routes: RoutingTable) -> tuple[str | None, str]:
    """Return namespace and name of a model by any of its names; those of a model that is gone as they were."""
    with suppress(APIError):
        return routes.resolve(name).key
    namespace, slash, own = name.partition("/")
    return (namespace, own) if slash else (None, name)


def _result(total: Total) -> dict[str, Any]:
    used = total.used
    return {
        "object": "heliograph.usage.result",
        "images": used.images,
        "pixels": used.pixels,
        "steps": used.steps,
        "seconds": round(used.seconds, 6),
        "gpu_seconds": round(used.gpu_seconds, 6),
        "num_requests": total.requests,
        "model": None if total.model is None else "/".join(part for part in total.model if part),
        "key": total.key,
    }
