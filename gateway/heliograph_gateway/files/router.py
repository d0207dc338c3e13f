"""The endpoint that serves stored files."""

import re
import time
from email.utils import formatdate
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

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
    # The bytes of an id never change.
    etag = f'"{stored.id}"'
    headers = {
        "accept-ranges": "bytes",
        "access-control-allow-origin": "*",
        "cache-control": f"private, immutable, max-age={max(0, stored.expires_at - int(time.time()))}",
        "cross-origin-resource-policy": "cross-origin",
        "etag": etag,
        "last-modified": formatdate(stored.created_at, usegmt=True),
        "x-content-type-options": "nosniff",
    }
    known = request.headers.get("if-none-match", "").split(",")
    if any(part.strip().removeprefix("W/") in {etag, "*"} for part in known):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    part = _wanted_part(request, stored.size, etag)
    start, stop = part or (0, stored.size)
    headers |= {
        "content-disposition": f'inline; filename="{stored.name}"',
        "content-length": str(stop - start),
        "content-type": stored.media_type,
    }
    if part:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{stored.size}"
    status = HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK
    if request.method == "HEAD":
        if not await files.exists(stored):
            raise _gone()
        return Response(status_code=status, headers=headers)
    return _Sent(files, stored, start, stop, status=status, headers=headers)


class _Sent(Response):
    """A part of a file, read as fast as its client takes it and no longer than the client stays."""

    def __init__(
        self, files: FileStore, stored: StoredFile, start: int, stop: int, *, status: int, headers: dict[str, str]
    ) -> None:
        super().__init__(status_code=status)
        self._files = files
        self._stored = stored
        self._part = start, stop
        self._sent_headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._files.reading(self._stored, *self._part) as parts:
                await StreamingResponse(parts, self.status_code, self._sent_headers)(scope, receive, send)
        except FileNotFoundError:
            raise _gone() from None


def _gone() -> APIError:
    return APIError(404, "This file is no longer kept; ask for the picture again.", code="file_not_found")


def _wanted_part(request: Request, size: int, etag: str) -> tuple[int, int] | None:
    """Return the first byte and the one after the last that are to be sent; None for the whole file.

    A part is sent for one range of bytes, of the file that the client knows. Several ranges, and what is no range, are
    answered with the whole file, as RFC 9110 allows.

    Raises:
        APIError: 416, the range lies outside the file.
    """
    match = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if not match or request.headers.get("if-range", etag) != etag:
        return None
    first, last, suffix = match.groups()
    if first and last and int(last) < int(first):
        return None
    if int(first) >= size if first else int(suffix) == 0:
        raise APIError(
            416,
            f"Range: lies outside the file; it has {size} bytes.",
            code="range_not_satisfiable",
            headers={"Content-Range": f"bytes */{size}"},
        )
    if not first:
        return max(0, size - int(suffix)), size
    return int(first), min(size, int(last) + 1) if last else size
