"""Headers that lie or carry something else, and keys that open nothing."""

from collections.abc import Iterator

from hostile.exchanges import KEY, Case, json_case

_BODY = b'{"prompt": "a", "n": 0}'

TYPES = (
    "",
    ";",
    "/",
    "*/*",
    "application",
    "text/plain",
    "text/html",
    "application/x-www-form-urlencoded",
    "application/xml",
    "application/octet-stream",
    "image/png",
    "multipart/mixed; boundary=B",
    "multipart/form-dat; boundary=B",
    "json",
    "application/json5",
    "application/x-python-pickle",
    "application/yaml",
    "application/ json",
    "\xff\xfe",
    "a" * 9000,
)
KEYS = (
    "",
    "Bearer",
    f"Bearer {KEY}x",
    f"Bearer {KEY[:-1]}",
    f"Bearer {KEY} {KEY}",
    f"Basic {KEY}",
    KEY,
    f"Bearer {KEY.upper()}",
    "Bearer \xff\xfe",
    "Bearer null",
    "Bearer undefined",
    "Bearer " + "a" * 30_000,
    f"bearer\t{KEY}",
    'Digest username="a", response="b"',
    "Negotiate YII=",
    f"Token {KEY}",
)
ENCODINGS = ("gzip", "deflate", "br", "zstd", "gzip, identity", "identity, gzip", "x" * 9000)

HARMLESS = {
    "a request id of many lines": {"x-request-id": "a\\r\\nX-Injected: 1"},
    "a long request id": {"x-request-id": "a" * 9000},
    "a request id of bytes": {"x-request-id": "\xff\x80"},
    "a forged address": {"x-forwarded-for": "127.0.0.1, ::1"},
    "a forged host": {"x-forwarded-host": "evil.example/\\@a", "x-forwarded-proto": "javascript"},
    "a forged prefix": {"x-forwarded-prefix": "//evil.example"},
    "another method": {"x-http-method-override": "DELETE"},
    "another URL": {"x-original-url": "/metrics", "x-rewrite-url": "/metrics"},
    "an empty host": {"host": ""},
    "a trace of nonsense": {"traceparent": "00-" + "z" * 500, "tracestate": "a=b," * 500},
    "a cookie of 30 kB": {"cookie": "a=" + "b" * 30_000},
    "a range": {"range": "bytes=" + "0-," * 3000},
    "conditions": {"if-match": "*", "if-none-match": "*", "if-range": '"a"', "if-modified-since": "never"},
    "what it accepts": {"accept": "text/html;q=" + "9" * 500},
    "languages": {"accept-language": "a," * 9000},
    "a websocket": {"upgrade": "websocket", "connection": "upgrade", "sec-websocket-key": "a"},
    "HTTP/2 in plain text": {"upgrade": "h2c", "connection": "upgrade, http2-settings", "http2-settings": "AAMAAABk"},
    "hop-by-hop headers": {"connection": "authorization, content-type, x-request-id"},
    "a lifetime": {"keep-alive": "-1"},
    "an expectation": {"expect": "200-ok"},
    "a shell": {"user-agent": "() { :;}; id"},
    "JNDI": {"referer": "${jndi:ldap://a}"},
    "an origin": {"origin": "null", "access-control-request-method": "DELETE"},
    "a proxy": {"proxy": "http://127.0.0.1:1"},
}
"""Headers that change nothing about what is wrong with the request."""
UNREADABLE = {
    "a host of brackets": {"host": "[::1"},
    "a host with a path": {"host": "a/b/c"},
    "a host with a query": {"host": "a?b#c"},
    "a host with a key": {"host": "u:p@a"},
    "a host of bytes": {"host": "\xff"},
    "a huge port": {"host": "a:99999999"},
    "300 headers": {f"x-{number}": "a" for number in range(300)},
}
"""Headers for which a request is refused before anything else is looked at."""


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for content_type in TYPES:
        headers = {"content-type": content_type}
        yield Case(f"type {content_type[:40]!r}", _BODY, headers, statuses=(415,), param=None)
    for target in ("/v1/videos", "/sdapi/v1/txt2img", "/sdapi/v1/options", "/v1-openai/image/edit"):
        headers = {"content-type": "text/plain"}
        yield Case(f"plain text at {target}", _BODY, headers, target=target, statuses=(415,), param=None)
    for encoding in ENCODINGS:
        headers = {"content-type": "application/json", "content-encoding": encoding}
        yield Case(f"encoding {encoding[:40]!r}", _BODY, headers, statuses=(415,), param=None)
    for key in KEYS:
        yield Case(f"key {key[:40]!r}", _BODY, {"authorization": key, "api-key": ""}, statuses=(401,), param=None)
    for target in (
        "/v1/models",
        "/metrics",
        "/nothing",
        "/docs/../metrics",
        "/v1/videos",
        "/healthz/../metrics",
        "/docs/static",
    ):
        headers = {"authorization": "Bearer x"}
        yield Case(f"{target} without a key", b"", headers, "GET", target, statuses=(401,), param=None)
    for name, headers in HARMLESS.items():
        yield Case(name, _BODY, {"content-type": "application/json"} | headers, param="n")
    for name, headers in UNREADABLE.items():
        yield Case(name, _BODY, {"content-type": "application/json"} | headers, param=None)
    yield json_case("two kinds of body", b"--B\r\n\r\n--B--", param=None)
