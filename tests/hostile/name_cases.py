"""Names of models, files and videos that lead out of where they belong, and links that were tampered with."""

from collections.abc import Iterator

from hostile.exchanges import Case, json_case

MODELS = (
    "../tiny",
    "tiny/..",
    "default/../tiny",
    "/tiny",
    "tiny/",
    "//",
    "default//tiny",
    "tiny\0",
    "\0",
    "tiny\n",
    "tiny\r\nX: 1",
    "tiny ",
    " tiny/x",
    "TINY",
    "tiny%00",
    "%2e%2e%2ftiny",
    "tiny;id",
    "tiny|id",
    "$(id)",
    "`id`",
    "${jndi:ldap://x/a}",
    "{{7*7}}",
    "%s%s%n",
    "' OR 1=1 --",
    "tiny\u202e",
    "\u0442iny",
    "tiny\u200b",
    "\x1b[2J",
    "__proto__",
    "constructor",
    "*",
    "default/*",
    "kube-system/secret",
    "a" * 512,
    "\U0001f4a3" * 128,
    "tiny?x=1",
    "tiny#x",
    "file:///etc/passwd",
    ".",
    "..",
)

_FILE = "file_" + "0" * 32
PATHS: dict[str, tuple[int, ...]] = {
    "/": (200,),
    "/admin": (200,),
    "/admin/": (404,),
    "/page": (404,),
    "/page/": (404,),
    "/page/..%2f..%2fapp.py": (404,),
    "/page/../router.py": (404,),
    "/page/%2e%2e/router.py": (404,),
    "/page//etc/passwd": (404,),
    "/page/%00": (404,),
    "/page/style/base.css%00": (404,),
    "/page/style/base.css/": (404,),
    "/page/" + "a/" * 4000: (404,),
    "/v1/images": (404,),
    "/v1/images/generations/": (404,),
    "/v1//images/generations": (404,),
    "/v1/images/../images/nothing": (404,),
    "/../../../../etc/passwd": (404,),
    "/%2e%2e/%2e%2e/etc/passwd": (404,),
    "/..%2f..%2fetc%2fpasswd": (404,),
    "/v1/%00": (404,),
    "/%ff%fe": (404,),
    "/%0d%0aX-Injected:%201": (404,),
    "/%1b[2J": (404,),
    "/" + "a" * 8000: (404,),
    "/" + "a/" * 4000: (404,),
    "/v1/models/..%2f..%2fetc%2fpasswd": (404,),
    "/v1/models/%00": (404,),
    "/v1/models/" + "%F0%9F%92%A3" * 300: (404,),
    "/v1/models/tiny%0d%0aSet-Cookie:%20a": (404,),
    "/v1/models/": (404,),
    "/docs/static/..%2f..%2fapp.py": (404,),
    "/docs/static/../../app.py": (404,),
    "/docs/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd": (404,),
    "/docs/static/%00": (404,),
    "/docs/static//etc/passwd": (404,),
    "/v1/videos/..%2f..%2f": (404,),
    "/v1/videos/%00": (404,),
    "/v1/videos/" + "v" * 5000: (404,),
    "/v1/videos/'%20OR%201=1%20--": (404,),
    "/v1/videos/%ff": (404,),
    "/v1/videos/x/content?variant=" + "a" * 20_000: (400,),
    "/v1/models/" + "a" * 20_000: (404,),
    "/v1/videos/x/content": (404,),
    "/v1/videos/x/content?variant=..%2f..%2fetc": (400,),
    "/v1/videos/..%2f/content": (404,),
    "/v1/videos?limit=0": (422,),
    "/v1/videos?limit=-1": (422,),
    "/v1/videos?limit=9999999999999999999999": (422,),
    "/v1/videos?limit=NaN": (422,),
    "/v1/videos?limit=1&limit=x": (422,),
    "/v1/videos?order=;DROP%20TABLE": (422,),
    "/v1/videos?after='%20OR%201=1": (400,),
    "/v1/videos?after=%00": (400,),
    "/v1/videos?after=" + "a" * 8000: (400,),
    "/v1/videos?after=%ff": (400,),
    "/v1/files/download/a/b": (403,),
    f"/v1/files/download/{_FILE}/{_FILE}.png": (403,),
    f"/v1/files/download/{_FILE}/{_FILE}.png?expires=9999999999&signature=": (403,),
    f"/v1/files/download/{_FILE}/{_FILE}.png?expires=9999999999&signature={'0' * 64}": (403,),
    f"/v1/files/download/{_FILE}/{_FILE}.png?expires=1e9&signature={'f' * 64}": (403,),
    f"/v1/files/download/{_FILE}/{_FILE}.png?expires={'9' * 5000}&signature=x": (403,),
    f"/v1/files/download/{_FILE}/{_FILE}.png?expires=1&signature=%ff%00": (403,),
    "/v1/files/download/..%2f..%2fetc/passwd?expires=1&signature=a": (403, 404),
    "/v1/files/download/%2e%2e/%2e%2e?expires=1&signature=a": (403,),
    "/v1/files/download/%00/%00?expires=1&signature=a": (403,),
}

METHODS = ("GET", "PUT", "PATCH", "DELETE", "OPTIONS")
UNKNOWN_METHODS = ("TRACE", "PROPFIND", "QUERY", "M-SEARCH", "A" * 9000)
"""Methods that are refused wherever they lead."""


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for model in MODELS:
        yield json_case(f"model {model[:30]!r}", {"prompt": "a", "model": model}, statuses=(404,), param="model")
        yield json_case(
            f"model {model[:30]!r} of a clip",
            {"prompt": "a", "model": model},
            target="/videos",
            statuses=(404,),
            param="model",
        )
        options = {"sd_model_checkpoint": model}
        yield json_case(
            f"model {model[:30]!r} by option", options, target="/sdapi/v1/options", statuses=(404,), param="model"
        )
    yield json_case("model of half a pair", b'{"prompt": "a", "model": "\\ud800"}', param=None)
    yield json_case("model of 513", {"prompt": "a", "model": "a" * 513}, param="model")
    for target, statuses in PATHS.items():
        yield Case(f"GET {target[:60]}", method="GET", target=target, statuses=statuses)
    for method in METHODS:
        # A browser asks with OPTIONS whether a page may ask at all.
        statuses = (204, 405) if method == "OPTIONS" else (405,)
        yield Case(f"{method} to draw", b"{}", method=method, statuses=statuses)
        yield Case(f"{method} of nothing", method=method, target="/nothing", statuses=(404,))
    for method in UNKNOWN_METHODS:
        yield Case(f"{method[:40]} to draw", b"{}", method=method, statuses=(405,))
        yield Case(f"{method[:40]} of nothing", method=method, target="/nothing", statuses=(405,))
    for method in ("DELETE", "HEAD", "POST"):
        for target in ("/v1/videos/..%2fx", "/v1/files/download/..%2fx/y"):
            yield Case(f"{method} {target}", b"{}", method=method, target=target, statuses=(403, 404, 405))
