"""Why a request for a model is refused without a replica having been asked, or because none had room."""

from heliograph_api.errors import QUEUE_FULL, APIError
from heliograph_gateway.names import Route
from heliograph_gateway.pace import within_bounds

_RETRY_AFTER = 10


def not_ready(route: Route, *, since: str = "") -> APIError:
    """Return the 503 for a model of which no replica takes requests, with a Retry-After that OpenAI's clients honour.

    Args:
        route: The model.
        since: How long it was waited for, to be put after `not ready`.
    """
    return APIError(
        503,
        f"The model '{route.model.model_id}' is not ready{since}: {_reason(route)}",
        param="model",
        code="model_not_ready",
        headers=retry_after(route),
    )


def queue_full(route: Route, *, likely: int | None = None, is_starting: bool = False) -> APIError:
    """Return the 429 for a model that as many requests wait for as may.

    Args:
        route: The model.
        likely: Seconds after which a request is likely to find room; None while that is not known.
        is_starting: Whether it has no replica that takes requests yet.
    """
    name = route.model.model_id
    message = f"The model '{name}' has more requests than it can take; try again later."
    if is_starting:
        message = (
            f"The model '{name}' is starting, and as many requests as can be held wait already; try again later. "
            f"{route.not_ready}"
        ).rstrip()
    return APIError(429, message, param="model", code=QUEUE_FULL, headers=retry_after(route, likely=likely))


def retry_after(route: Route, *, likely: int | None = None) -> dict[str, str]:
    """Return the header that says when to ask a model again: as its spec has it, else when that is likely to help."""
    seconds = route.model.spec.request_limits.retry_after_seconds or likely or _RETRY_AFTER
    return {"Retry-After": str(within_bounds(seconds))}


def _reason(route: Route) -> str:
    if route.not_ready:
        return route.not_ready
    if not route.replicas and not route.scaling:
        return "it has no replicas, and without spec.serving.scaling no request wakes it; set spec.serving.replicas."
    return "none of its replicas takes requests."
