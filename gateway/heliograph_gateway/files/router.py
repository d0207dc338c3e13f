"""The endpoint that serves stored files."""

import asyncio
import re
import time

from fastapi import APIRouter, Request, Response
from starlette.responses import FileResponse

from heliograph_api.errors import APIError
from heliograph_gateway.files.links import DOWNLOAD_PATH, Links
from heliograph_gateway.files.store import FileStore, StoredFile

_RANGE = re.compile(r"bytes=(?:([0-9]{1,15})-([0-9]{0,15})|-([0-9]{1,15}))")


def files_router(*, files: FileStore, links: Links) -> APIRouter:
    """Return the route of the links, which need no key.

    Args:
        files: What the links point at.
        links: What checks them.
    """
    router = APIRouter()

    async def download(request: Request, file_id: str, expires: str = "", signature: str = "") -> Response:
        # Before anything is looked up: without a signature nobody learns which files there are.
        links.check(request.scope["path"], expires, signature)
        stored = await files.get(file_id)
        if stored is None:
            raise _gone()
        return await file_response(request, files, stored)

    router.get(DOWNLOAD_PATH)(download)
    router.head(DOWNLOAD_PATH)(download)
    return router


async def file_response(request: Request, files: FileStore, stored: StoredFile) -> Response:
    """Return the answer to GET or HEAD that sends a file, whole or the range that was asked for.

    Args:
        request: The request.
        files: Where the file is.
        stored: The file.

    Raises:
        APIError: 404, its bytes are gone; 416, the range lies outside it.
    """
    path = files.path(stored.id)
    try:
        status = await asyncio.to_thread(path.stat)
    except FileNotFoundError:
        raise _gone() from None
    # The bytes of an id never change.
    etag = f'"{stored.id}"'
    headers = {
        "accept-ranges": "bytes",
        "access-control-allow-origin": "*",
        "cache-control": f"private, immutable, max-age={max(0, stored.expires_at - int(time.time()))}",
        "cross-origin-resource-policy": "cross-origin",
        "etag": etag,
        "x-content-type-options": "nosniff",
    }
    known = request.headers.get("if-none-match", "").split(",")
    if any(part.strip().removeprefix("W/") in {etag, "*"} for part in known):
        return Response(status_code=304, headers=headers)
    if "range" in request.headers and not _takes_range(request, stored.size, etag):
        request.scope["headers"] = [header for header in request.scope["headers"] if header[0] != b"range"]
    return FileResponse(
        path,
        headers=headers,
        media_type=stored.media_type,
        filename=stored.name,
        stat_result=status,
        content_disposition_type="inline",
    )


def _gone() -> APIError:
    return APIError(404, "This file is no longer kept; ask for the picture again.", code="file_not_found")


def _takes_range(request: Request, size: int, etag: str) -> bool:
    """Return whether a part is to be sent: one range of bytes, of the file that the client knows.

    Several ranges, and what is no range, are answered with the whole file, as RFC 9110 allows.

    Raises:
        APIError: 416, the range lies outside the file.
    """
    match = _RANGE.fullmatch(request.headers["range"].replace(" ", ""))
    if not match or request.headers.get("if-range", etag) != etag:
        return False
    first, last, suffix = match.groups()
    if first and last and int(last) < int(first):
        return False
    if int(first) >= size if first else int(suffix) == 0:
        raise APIError(
            416,
            f"Range: lies outside the file; it has {size} bytes.",
            code="range_not_satisfiable",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return True
