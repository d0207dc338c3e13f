"""GET of the pages and of their files."""

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from heliograph_gateway.page.assets import Asset, read_assets
from heliograph_gateway.page.paths import ADMIN_PATH, PLAYGROUND_PATH, STATIC_PREFIX

_PAGES = {PLAYGROUND_PATH: "playground.html", ADMIN_PATH: "admin.html"}
# Pictures that were drawn, or chosen to be changed, are shown from memory: blob:.
_POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob: data:",
    "media-src 'self' blob:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)
_HEADERS = {
    "Content-Security-Policy": "; ".join(_POLICY),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # They change with the gateway alone, whose replicas may be of two versions for a while: browsers ask by the tag.
    "Cache-Control": "no-cache",
}


def page_router() -> APIRouter:
    """Return the routes of `/`, `/admin` and `/page/...`."""
    router = APIRouter(include_in_schema=False)
    assets = read_assets()

    async def page(request: Request) -> Response:
        return _answer(request, assets[_PAGES[request.scope["path"]]])

    async def static(request: Request, name: str) -> Response:
        if name not in assets:
            raise HTTPException(404)
        return _answer(request, assets[name])

    for path in _PAGES:
        router.add_api_route(path, page, methods=["GET", "HEAD"])
    router.add_api_route(f"{STATIC_PREFIX}{{name:path}}", static, methods=["GET", "HEAD"])
    return router


def _answer(request: Request, asset: Asset) -> Response:
    headers = {**_HEADERS, "ETag": asset.etag}
    # A proxy that compresses on the way makes the tag a weak one.
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if known & {asset.etag, "*"}:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, media_type=asset.media_type, headers=headers)
