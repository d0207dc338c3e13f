"""Bytes that two readers of HTTP could take for different requests, and what the gateway makes of each.

Where RFC 9112 leaves a choice between mending and refusing, it is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass

BODY = b'{"model": "tiny", "prompt": "a circle"}'
SMUGGLED = b"smuggled"
_HIDDEN_BODY = b'{"model": "tiny", "prompt": "smuggled"}'
_LINE = b"POST /v1/images/generations HTTP/1.1\r\n"
_HOST = b"Host: gateway.test\r\n"
_TYPE = b"Content-Type: application/json\r\n"
_LENGTH = b"Content-Length: %d\r\n" % len(BODY)
_HEAD = _LINE + _HOST + _TYPE
_GOOD = _HEAD + _LENGTH + b"\r\n" + BODY
_HIDDEN = _HEAD + b"Content-Length: %d\r\n\r\n" % len(_HIDDEN_BODY) + _HIDDEN_BODY
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_CHUNKS = b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n"

SERVED = frozenset({200})
REFUSED = frozenset({400})
UNKNOWN_CODING = frozenset({400, 501})
TOO_LARGE = frozenset({400, 414, 431})
VERSION = frozenset({400, 505})
NOWHERE = frozenset({400, 404, 405, 501})
ABSENT = frozenset({404})
DECODED = frozenset({200, 404})
"""Either is right, as long as the runtime gets the plain path."""


@dataclass(frozen=True)
class WireCase:
    """Bytes on one connection.

    Attributes:
        name: What is odd about them.
        segments: The bytes, in the parts that they are sent in.
        answers: For each answer the statuses that it may have; there is no further one.
    """

    name: str
    segments: tuple[bytes, ...]
    answers: tuple[frozenset[int], ...]


def _refused(name: str, data: bytes, answer: frozenset[int] = REFUSED) -> WireCase:
    """Return a case that is refused, and with it whatever comes behind it on the connection."""
    return WireCase(name, (data + _HIDDEN,), (answer,))


def _elsewhere(name: str, data: bytes, answer: frozenset[int]) -> WireCase:
    """Return a case whose framing is in order, and which leads elsewhere."""
    return WireCase(name, (data,), (answer,))


def _served(name: str, *segments: bytes, times: int = 1) -> WireCase:
    return WireCase(name, segments, (SERVED,) * times)


def _sized(value: bytes) -> bytes:
    return _HEAD + b"Content-Length: " + value + b"\r\n\r\n" + BODY


def _coded(lines: bytes, *, body: bytes = _CHUNKS) -> bytes:
    return _HEAD + lines + b"\r\n" + body


def _chunk(size: bytes, *, data: bytes = BODY, end: bytes = b"\r\n", last: bytes = b"0\r\n\r\n") -> bytes:
    return _coded(_CHUNKED, body=size + data + end + last)


def _with(line: bytes) -> bytes:
    return _HEAD + line + _LENGTH + b"\r\n" + BODY


def _at(target: bytes, *, host: bytes = _HOST) -> bytes:
    return b"POST " + target + b" HTTP/1.1\r\n" + host + _TYPE + _LENGTH + b"\r\n" + BODY


def lengths_and_codings() -> Iterator[WireCase]:
    """Yield requests with both kinds of framing, or an odd coding."""
    size = len(_CHUNKS)
    yield _refused("a length before chunks", _coded(b"Content-Length: %d\r\n" % size + _CHUNKED))
    yield _refused("a length behind chunks", _coded(_CHUNKED + b"Content-Length: %d\r\n" % size))
    yield _refused("a length of less than the chunks", _coded(b"Content-Length: 4\r\n" + _CHUNKED))
    yield _refused("a length of more than the chunks", _coded(b"Content-Length: 9999\r\n" + _CHUNKED))
    yield _refused("a length of 0 and chunks", _coded(b"Content-Length: 0\r\n" + _CHUNKED))
    for value in (
        b"xchunked",
        b"chunked, identity",
        b"identity, chunked",
        b"gzip, chunked",
        b"chunked, chunked",
        b"identity",
        b"chunked;q=1",
        b'"chunked"',
        b"chunked,",
        b"",
        b"cow",
        b"deflate",
        b"chunked\x0b",
        b"\x0cchunked",
        b"chunk\xc3\xa9d",
        b"chunked, gzip",
    ):
        yield _refused(f"the coding {value!r}", _coded(b"Transfer-Encoding: " + value + b"\r\n"), UNKNOWN_CODING)
    yield _refused("the coding twice", _coded(_CHUNKED + _CHUNKED), UNKNOWN_CODING)
    yield _refused("two codings", _coded(_CHUNKED + b"Transfer-Encoding: identity\r\n"), UNKNOWN_CODING)
    yield _refused("a blank before the coding's colon", _coded(b"Transfer-Encoding : chunked\r\n"))
    yield _refused("a blank before the coding's name", _coded(b" Transfer-Encoding: chunked\r\n"))
    yield _refused("a coding on a folded line", _coded(b"Transfer-Encoding:\r\n chunked\r\n"), UNKNOWN_CODING)
    yield _refused("a coding behind a bare carriage return", _coded(b"X: a\rTransfer-Encoding: chunked\r\n" + _LENGTH))
    yield _refused("a coding behind a bare line feed", _coded(b"X: a\nTransfer-Encoding: chunked\r\n" + _LENGTH))
    yield _refused(
        "chunks in HTTP/1.0", _coded(_CHUNKED + b"Connection: keep-alive\r\n").replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    )
    yield _served("a coding in capitals", _coded(b"TRANSFER-ENCODING: CHUNKED\r\n"))
    yield _served("a coding that another name resembles", _with(b"Transfer_Encoding: chunked\r\n"))
    yield _served("chunks, and an offer of trailers", _coded(b"TE: trailers\r\n" + _CHUNKED))


def lengths() -> Iterator[WireCase]:
    """Yield requests with an odd Content-Length."""
    size = b"%d" % len(BODY)
    for value in (
        b"+" + size,
        b"-" + size,
        b"-0",
        b"0x27",
        b"",
        size + b" " + size,
        size + b"," + size,
        size + b".0",
        b"3_9",
        b"\xb3\xb9",
        b"9" * 20,
        b"18446744073709551655",
        b"39e0",
        b"thirty-nine",
        b"\x0b" + size,
        size + b"\x00",
    ):
        too_large = frozenset({400, 413}) if value.isdigit() and len(value) > 12 else REFUSED
        yield _refused(f"a length of {value!r}", _sized(value), too_large)
    yield _refused("two lengths", _HEAD + _LENGTH + b"Content-Length: 4\r\n\r\n" + BODY)
    yield _refused("the same length twice", _HEAD + _LENGTH + _LENGTH + b"\r\n" + BODY)
    yield _refused("a length with a blank before its colon", _HEAD + _LENGTH.replace(b":", b" :") + b"\r\n" + BODY)
    yield _refused("a length on a folded line", _HEAD + _LENGTH.replace(b": ", b":\r\n ") + b"\r\n" + BODY)
    yield _served("a length that another name resembles", _with(b"Content_Length: 4\r\n"))
    yield WireCase(
        "a length of less than the body", (_sized(b"%d" % len(BODY)) + b"}\r\n\r\n" + _HIDDEN,), (SERVED, REFUSED)
    )
    yield WireCase("a body without a length", (_HEAD + b"\r\n" + BODY + b"\r\n\r\n",), (REFUSED, REFUSED))


def chunks() -> Iterator[WireCase]:
    """Yield bodies in odd chunks."""
    size = b"%x" % len(BODY)
    for line in (
        b"0x" + size,
        b"+" + size,
        b"-" + size,
        b" " + size,
        size + b" x",
        b"2_7",
        b"1" + b"0" * 15 + size,
        b"f" * 16,
        b"f" * 40,
        b"",
        size + b"\x00",
        size + b"\xb2",
        size + b"\x0b",
        b";a=b",
    ):
        too_large = frozenset({400, 413}) if len(line) > 12 else REFUSED
        yield _refused(f"a chunk of {line[:20]!r} bytes", _chunk(line + b"\r\n"), too_large)
    yield _refused("a chunk size that ends in a bare line feed", _chunk(size + b"\n"))
    yield _refused("a chunk size that ends in a bare carriage return", _chunk(size + b"\r"))
    yield _refused("an extension with a bare line feed", _chunk(size + b";a=\n" + size + b"\r\n"))
    yield _refused("an extension with a bare carriage return", _chunk(size + b";a=\r" + size + b"\r\n"))
    yield _refused(
        "an extension of 100 kB", _chunk(size + b";a=" + b"b" * 100_000 + b"\r\n"), frozenset({400, 413, 431})
    )
    yield _refused("a chunk that is longer than it says", _chunk(b"%x\r\n" % (len(BODY) - 1)))
    yield _refused("a chunk that ends in a bare line feed", _chunk(size + b"\r\n", end=b"\n"))
    yield _refused("a chunk that ends in two letters", _chunk(size + b"\r\n", end=b"XX"))
    yield _refused("a chunk that ends in a bare carriage return", _chunk(size + b"\r\n", end=b"\rX"))
    yield _served("a chunk with an extension", _chunk(size + b";a=b\r\n"))
    yield _served("a chunk size in capitals with zeros before it", _chunk(b"000" + size.upper() + b"\r\n"))
    yield _served("many chunks", _coded(_CHUNKED, body=b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"))
    yield _refused(
        "trailers that frame anew",
        _chunk(size + b"\r\n", last=b"0\r\nContent-Length: 5\r\nTransfer-Encoding: identity\r\nHost: b\r\n\r\n"),
    )
    yield WireCase(
        "trailers that name another host",
        (_chunk(size + b"\r\n", last=b"0\r\nHost: b\r\nAuthorization: identity\r\n\r\n") + _GOOD,),
        (SERVED, SERVED),
    )
    yield _served("a trailer", _chunk(size + b"\r\n", last=b"0\r\nX-Request-Id: identity\r\n\r\n"))
    yield _refused("a chunk of 16 EiB", _chunk(b"f" * 16 + b"\r\n"))
    yield _refused("a trailer with a NUL", _chunk(size + b"\r\n", last=b"0\r\nX: a\x00b\r\n\r\n"))


def heads() -> Iterator[WireCase]:
    """Yield odd header lines."""
    yield _refused("a folded header", _with(b"X-A: b\r\n c\r\n"))
    yield _refused("a folded first header", _LINE + b" X-A: b\r\n" + _GOOD[len(_LINE) :])
    yield _refused("lines that end in bare line feeds", _GOOD.replace(b"\r\n", b"\n"))
    yield _refused("one line that ends in a bare line feed", _with(b"X-A: b\n"))
    yield _refused("a head that ends in bare line feeds", _HEAD + _LENGTH + b"\n" + BODY)
    yield _refused("a bare carriage return in a header", _with(b"X-A: b\rc\r\n"))
    yield _refused("a header that ends in two carriage returns", _with(b"X-A: b\r\r\n"))
    yield _refused("a NUL in a header", _with(b"X-A: b\x00c\r\n"))
    yield _refused("a NUL in a header's name", _with(b"X\x00A: b\r\n"))
    yield _refused("a blank before a colon", _with(b"X-A : b\r\n"))
    yield _refused("a tab before a colon", _with(b"X-A\t: b\r\n"))
    yield _refused("a header without a colon", _with(b"nonsense\r\n"))
    yield _refused("a header without a name", _with(b": b\r\n"))
    yield _refused("a header's name in brackets", _with(b"[X]: b\r\n"))
    yield _refused("a header's name of bytes", _with(b"X\xff: b\r\n"))
    yield _refused("1000 headers", _with(b"X-A: b\r\n" * 1000), TOO_LARGE)
    yield _refused("a header of 128 kB", _with(b"X-A: " + b"b" * 131_072 + b"\r\n"), TOO_LARGE)
    yield _refused("a path of 128 kB", _at(b"/v1/images/generations?" + b"a" * 131_072), TOO_LARGE)
    yield _served("an empty line before the request", b"\r\n" + _GOOD)
    yield _served("one byte at a time", *(_GOOD[i : i + 1] for i in range(len(_GOOD))))


def hosts_and_lines() -> Iterator[WireCase]:
    """Yield odd request lines and hosts."""
    yield _refused("no host", _at(b"/v1/images/generations", host=b""))
    yield _refused("two hosts", _at(b"/v1/images/generations", host=_HOST + b"Host: other.test\r\n"))
    yield _refused("the same host twice", _at(b"/v1/images/generations", host=_HOST + _HOST))
    for value in (
        b"a/b",
        b"a@b",
        b"a b",
        b"a, b",
        b"a?b",
        b"a#b",
        b"a:b",
        b"a:80:80",
        b"[::1",
        b"a\\b",
        b"\xff",
        b"http://a",
    ):
        yield _refused(f"the host {value!r}", _at(b"/v1/images/generations", host=b"Host: " + value + b"\r\n"))
    for target in (b"http://other.test/v1/images/generations", b"https://a@gateway.test/v1/images/generations"):
        yield _refused(f"the target {target!r}", _at(target))
    yield _elsewhere("the gateway's own URL as the target", _at(b"http://gateway.test/v1/images/generations"), DECODED)
    for target in (b"v1/images/generations", b"*", b"other.test:443", b"?a"):
        yield _refused(f"the target {target!r}", _at(target))
    for target in (
        b"/v1/images/generations#a",
        b"/v1/images/\x00generations",
        b"/v1/images/generations\xff",
        b"/v1/images /generations",
        b"/v1/images/\tgenerations",
    ):
        yield _refused(f"the target {target!r}", _at(target))
    for target in (b"//other.test/v1/images/generations", b"/v1/../v1/images/generations", b"/v1//images/generations"):
        yield _elsewhere(f"the target {target!r}", _at(target), ABSENT)
    yield _elsewhere("a slash that is percent-encoded", _at(b"/v1%2fimages/generations"), DECODED)
    for line in (
        b"POST /v1/images/generations\r\n",
        b"POST /v1/images/generations HTTP/1.1 \r\n",
        b"POST /v1/images/generations HTTP/1.1x\r\n",
        b"POST /v1/images/generations HTTP/2.0\r\n",
        b"POST /v1/images/generations http/1.1\r\n",
        b"POST /v1/images/generations HTTP/1.10\r\n",
        b"POST  /v1/images/generations HTTP/1.1\r\n",
        b"POST\t/v1/images/generations\tHTTP/1.1\r\n",
        b" POST /v1/images/generations HTTP/1.1\r\n",
        b"POST /v1/images/generations HTTP /1.1\r\n",
        b"P OST /v1/images/generations HTTP/1.1\r\n",
        b"POST /v1/images/generations HTTP/1.1\n",
        b"PO\x00ST /v1/images/generations HTTP/1.1\r\n",
        b"POST /v1/images/generations XTTP/1.1\r\n",
        b"\xffPOST /v1/images/generations HTTP/1.1\r\n",
    ):
        yield _refused(f"the line {line!r}", line + _GOOD[len(_LINE) :], VERSION)
    yield _refused("HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VERSION)
    for method in (b"post", b"BREW", b"TRACE", b"TRACK", b"PUT", b"CONNECT", b"DELETE", b"GET"):
        yield _elsewhere(f"the method {method!r}", _GOOD.replace(b"POST", method, 1), NOWHERE)


def connections() -> Iterator[WireCase]:
    """Yield several requests on one connection, and what is to change what a connection is."""
    yield _served("two requests at once", _GOOD + _GOOD, times=2)
    yield WireCase(
        "an odd request behind a good one", (_GOOD + _coded(_CHUNKED + _LENGTH) + _HIDDEN,), (SERVED, REFUSED)
    )
    yield WireCase("noise behind a good request", (_GOOD + b"\x16\x03\x01\x00\r\n\r\n" + _HIDDEN,), (SERVED, REFUSED))
    yield WireCase("a request behind one that closes", (_with(b"Connection: close\r\n") + _HIDDEN,), (SERVED,))
    yield WireCase(
        "a request behind one of HTTP/1.0", (_GOOD.replace(b"HTTP/1.1", b"HTTP/1.0", 1) + _HIDDEN,), (SERVED,)
    )
    yield _served(
        "an upgrade to HTTP/2", _with(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n")
    )
    yield _served(
        "an upgrade to WebSocket", _with(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
    )
    yield _served("a length that is called hop-by-hop", _with(b"Connection: content-length, x-request-id\r\n"))
    yield _served("an expectation", _with(b"Expect: 100-continue\r\n"))
    yield _served(
        "claims of who asks",
        _with(
            b"X-Forwarded-For: 10.0.0.1\r\nX_Forwarded_For: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\n"
            b"Authorization: Bearer identity\r\nApi-Key: identity\r\nX-Api-Key: identity\r\nCookie: identity=1\r\n"
            b"Remote-User: identity\r\nX-Forwarded-User: identity\r\nX_Request_Id: identity\r\n"
            b"X-Heliograph-Owner: identity\r\nX-Real-IP: 10.0.0.1\r\n"
            b"X-Original-URL: /identity\r\nX-HTTP-Method-Override: DELETE\r\nProxy: http://identity/\r\n"
        ),
    )


def cases() -> Iterator[WireCase]:
    """Yield all of them."""
    for part in (lengths_and_codings, lengths, chunks, heads, hosts_and_lines, connections):
        yield from part()
