"""Pictures that a request names by URL."""

from heliograph_api.images.request import ImageRequest
from heliograph_gateway.fetching.fetcher import Fetcher


async def fetched_inputs(wanted: ImageRequest, fetcher: Fetcher) -> dict[str, bytes]:
    """Return each URL of a request with the picture behind it: a runtime reaches nothing outside.

    Raises:
        APIError: 400, one of them can't be had.
    """
    by_url = {picture.url: picture.field for picture in wanted.inputs if picture.url}
    files = await fetcher.fetch([(field, url) for url, field in by_url.items()]) if by_url else []
    return dict(zip(by_url, files, strict=True))
