"""Bytes on a connection that are no proper HTTP: each is refused or dropped, and the next client notices nothing."""

import contextlib
import re
import socket
from urllib.parse import urlsplit

import pytest

from contract.models import only_diffusers
from hostile.exchanges import KEY, check_text
from hostile.stacks import Stack

pytestmark = [only_diffusers, pytest.mark.usefixtures("unharmed", "same_worker")]

_PATIENCE = 10.0
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[^\r\n]*\r\n")
_KEYED = f"Authorization: Bearer {KEY}\r\n".encode()
_POST = b"POST /v1/images/generations HTTP/1.1\r\nHost: a\r\n" + _KEYED
_GET = b"GET /v1/models HTTP/1.1\r\nHost: a\r\n" + _KEYED
_JSON = _POST + b"Content-Type: application/json\r\n"
_LAST = b"Connection: close\r\n"
_BODY = b'{"n": 0}'
_CHUNKED = _JSON + _LAST + b"Transfer-Encoding: chunked\r\n\r\n"
_CHUNK = b"8\r\n" + _BODY + b"\r\n0\r\n\r\n"
# What only the runtime can tell to be wrong.
_REFUSED = b'{"prompt": "a <lora:none:1>"}'
_CHUNKED_REFUSAL = b"%x\r\n%b\r\n0\r\n\r\n" % (len(_REFUSED), _REFUSED)
_TRAILED_REFUSAL = _CHUNKED_REFUSAL[:-2] + b"Content-Length: 5\r\nX-Request-Id: a\r\n\r\n"
_SMUGGLED = b"DELETE /v1/videos/a HTTP/1.1\r\nHost: a\r\n" + _KEYED + b"\r\n"


def _sized(*lengths: str, body: bytes = _BODY, head: bytes = _JSON + _LAST) -> bytes:
    return head + b"".join(f"Content-Length: {length}\r\n".encode("latin-1") for length in lengths) + b"\r\n" + body


ANSWERED: dict[str, tuple[bytes, set[int]]] = {
    "noise": (b"\x00\xff\x13\x37" * 500 + b"\r\n\r\n", {400}),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500) + b"\r\n\r\n", {400}),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(64), {400, 401}),
    "HTTP/0.9": (b"GET /v1/models\r\n\r\n", {400}),
    "HTTP/3.7": (b"GET / HTTP/3.7\r\nHost: a\r\n" + _LAST + b"\r\n", {400, 401}),
    "HTTP/1.10": (b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", {400}),
    "HTTP/1.0 without a host": (b"GET /v1/models HTTP/1.0\r\n" + _KEYED + b"\r\n", {200}),
    "SSH": (b"SSH-2.0-OpenSSH_9.0\r\n\r\n", {400}),
    "SMTP": (b"EHLO a\r\n\r\n", {400}),
    "Redis": (b"*1\r\n$8\r\nFLUSHALL\r\n\r\n", {400}),
    "a blank in the path": (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "a NUL in the path": (b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "bytes in the path": (b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "two blanks": (b"GET  /v1/models  HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "no host": (b"GET /v1/models HTTP/1.1\r\n" + _KEYED + b"\r\n", {400}),
    "two hosts": (_GET + b"Host: b\r\n\r\n", {400}),
    "a full URL": (b"GET http://127.0.0.1:22/v1/models HTTP/1.1\r\nHost: a\r\n" + _KEYED + _LAST + b"\r\n", {400}),
    "a URL of a file": (b"GET file:///etc/passwd HTTP/1.1\r\nHost: a\r\n" + _KEYED + _LAST + b"\r\n", {400}),
    "an authority": (b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: a\r\n" + _KEYED + _LAST + b"\r\n", {400, 404, 405}),
    "an asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n" + _KEYED + _LAST + b"\r\n", {404}),
    "no path": (b"GET ?a HTTP/1.1\r\nHost: a\r\n" + _KEYED + _LAST + b"\r\n", {400}),
    "a method of brackets": (b"G<>T / HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "a header without a colon": (_GET + b"nonsense\r\n\r\n", {400}),
    "a header name with a blank": (_GET + b"a b: c\r\n\r\n", {400}),
    "a blank before the colon": (_GET + b"Content-Length : 5\r\n\r\n", {400}),
    "a header with a NUL": (_GET + b"a: b\0c\r\n\r\n", {400}),
    "a header with a carriage return": (_GET + b"a: b\rX-Injected: c\r\n\r\n", {400}),
    "a header of 100 kB": (_GET + _LAST + b"a: " + b"b" * 100_000 + b"\r\n\r\n", {200, 400}),
    "20000 headers": (_GET + _LAST + b"a: b\r\n" * 20_000 + b"\r\n", {200, 400}),
    "a path of 100 kB": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n" + _LAST + b"\r\n", {400, 401}),
    "a negative length": (_sized("-1"), {400}),
    "a length with a plus": (_sized("+8"), {400}),
    "a length in hexadecimal": (_sized("0x8"), {400}),
    "a length of letters": (_sized("eight"), {400}),
    "a superscript length": (_sized("\xb2"), {400}),
    "an empty length": (_sized(""), {400}),
    "a length in two parts": (_sized("8, 9"), {400}),
    "two lengths": (_sized("8", "9"), {400}),
    "the same length twice": (_sized("8", "8"), {400}),
    "a length of 30 digits": (_sized("9" * 30), {400, 413}),
    "a length of 10 TB": (_sized("10000000000000"), {413}),
    "length and chunks": (_sized("8", head=_JSON + _LAST + b"Transfer-Encoding: chunked\r\n", body=_CHUNK), {400}),
    "chunks of another kind": (_JSON + b"Transfer-Encoding: xchunked\r\n\r\n" + _CHUNK, {400, 501}),
    "chunks under gzip": (_JSON + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + _CHUNK, {400, 501}),
    "chunks that are not last": (_JSON + b"Transfer-Encoding: chunked, identity\r\n\r\n" + _CHUNK, {400, 501}),
    "chunks twice": (_JSON + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n" + _CHUNK, {400, 501}),
    "chunks behind a tab": (_JSON + _LAST + b"Transfer-Encoding:\tchunked\r\n\r\n" + _CHUNK, {400}),
    "a chunk of negative size": (_CHUNKED + b"-1\r\na\r\n", {400}),
    "a chunk of a huge size": (_CHUNKED + b"f" * 30 + b"\r\na\r\n", {400}),
    "a chunk of no size": (_CHUNKED + b"\r\na\r\n", {400}),
    "a chunk that is longer than it says": (_CHUNKED + b"2\r\n" + _BODY + b"\r\n0\r\n\r\n", {400}),
    "a chunk with a long extension": (_CHUNKED + b"8;" + b"a" * 100_000 + b"\r\n" + _BODY + b"\r\n0\r\n\r\n", {400}),
    "trailers that change the length": (
        _CHUNKED + _CHUNK[:-2] + b"Content-Length: 99\r\nAuthorization: x\r\n\r\n",
        {400},
    ),
    "an expectation": (_sized("8", head=_JSON + _LAST + b"Expect: 100-continue\r\n"), {100, 400}),
    "more body than it says": (_sized("8", body=_BODY + b"x" * 5000), {400}),
    "no body at all": (_JSON + _LAST + b"\r\n", {400}),
    "a body under GET": (_GET + _LAST + b"Content-Length: 8\r\n\r\n" + _BODY, {200}),
    "50 requests at once": (_GET + b"\r\n" + (_GET + b"\r\n") * 48 + _GET + _LAST + b"\r\n", {200}),
}

DROPPED: dict[str, bytes] = {
    "nothing": b"",
    "half a request line": b"POST /v1/ima",
    "half a header": _POST + b"Content-Ty",
    "headers without end": _POST,
    "a body that is shorter than it says": _sized("5000"),
    "half a chunk": _CHUNKED + b"ff\r\n{",
    "chunks without end": _CHUNKED + b"8\r\n" + _BODY + b"\r\n",
    "a drawing nobody waits for": _sized("37", body=b'{"prompt": "a cat", "size": "64x64" }', head=_JSON),
}


def _talk(url: str, data: bytes, *, wait: bool = True) -> bytes:
    """Return what comes back until the server closes the connection, which it does for each of `ANSWERED`."""
    address = urlsplit(url)
    received = b""
    with (
        socket.create_connection((address.hostname, address.port or 0), timeout=_PATIENCE) as connection,
        # It may be closed while there is still something to send; what came before counts.
        contextlib.suppress(ConnectionError),
    ):
        connection.sendall(data)
        while wait and (part := connection.recv(65_536)):
            received += part
    return received


@pytest.mark.parametrize("name", ANSWERED)
def test_what_is_no_proper_request_is_answered_and_the_connection_closed(stack: Stack, name: str) -> None:
    data, expected = ANSWERED[name]
    received = _talk(stack.url, data)

    statuses = {int(status) for status in _STATUS.findall(received)}
    assert statuses, received[:2000]
    assert statuses <= expected, received[:2000]
    assert b"X-Injected" not in received
    check_text(received.decode("latin-1"), sent=[data])
    assert stack.client.get("/healthz").status_code == 200


@pytest.mark.parametrize("name", DROPPED)
def test_a_client_that_leaves_in_the_middle_disturbs_nobody(stack: Stack, name: str) -> None:
    assert _talk(stack.url, DROPPED[name], wait=False) == b""
    assert stack.client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("head", "body"),
    [
        pytest.param(b"Content-Length: %d\r\n" % len(_REFUSED), _REFUSED, id="behind a body"),
        pytest.param(b"Transfer-Encoding: chunked\r\n", _CHUNKED_REFUSAL, id="behind chunks"),
    ],
)
def test_the_gateway_and_the_runtime_agree_where_a_request_ends(stack: Stack, head: bytes, body: bytes) -> None:
    before = _refused_by_runtime(stack)
    received = _talk(stack.url, _JSON + head + b"\r\n" + body + _SMUGGLED + _GET + _LAST + b"\r\n")

    # One was refused by the runtime; the others were read by the gateway alone, and answered in their turn.
    assert [int(status) for status in _STATUS.findall(received)] == [400, 404, 200], received[:2000]
    assert _refused_by_runtime(stack) == before + 1


@pytest.mark.parametrize(
    ("head", "body"),
    [
        pytest.param(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", _CHUNKED_REFUSAL, id="chunks and less"),
        pytest.param(b"Content-Length: 999\r\nTransfer-Encoding: chunked\r\n", _CHUNKED_REFUSAL, id="chunks and more"),
        pytest.param(b"Transfer-Encoding: chunked\r\nTE: trailers\r\n", _TRAILED_REFUSAL, id="in a trailer"),
    ],
)
def test_a_request_that_could_end_in_two_places_ends_the_connection(stack: Stack, head: bytes, body: bytes) -> None:
    before = _refused_by_runtime(stack)
    received = _talk(stack.url, _JSON + head + b"\r\n" + body + _SMUGGLED + _GET + _LAST + b"\r\n")

    assert [int(status) for status in _STATUS.findall(received)] == [400], received[:2000]
    assert _refused_by_runtime(stack) == before


def _refused_by_runtime(stack: Stack) -> float:
    return stack.runtime.metric("requests_total", outcome="invalid")
