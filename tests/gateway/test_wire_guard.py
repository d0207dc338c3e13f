"""The rules of a request's head that llhttp leaves open; tests/hostile talks to a whole gateway."""

import pytest

from heliograph_api.errors import APIError
from heliograph_gateway.wire_guard import MAX_HEAD_BYTES, MAX_HEADERS, Head

LINE = b"POST /v1/images/generations HTTP/1.1\r\n"
SERVED = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


def read(line: bytes, *headers: tuple[bytes, bytes]) -> Head:
    head = Head(line)
    for name, value in headers:
        head.header(name, value)
    head.end()
    return head


def test_what_is_usual_passes() -> None:
    head = read(LINE, (b"Host", b"images.example.org:8080"), (b"Content-Length", b"12"))
    assert (head.length, head.chunked) == (12, False)
    head = read(LINE, (b"host", b"[::1]:8080"), (b"TRANSFER-ENCODING", b"Chunked"))
    assert (head.length, head.chunked) == (0, True)


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.0\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"GET http://a/v1/models HTTP/1.1\r\n",
        b"HEAD /healthz?a=%20 HTTP/1.1\r\n",
    ],
)
def test_request_lines_that_pass(line: bytes) -> None:
    read(line, (b"Host", b"a"))


@pytest.mark.parametrize(
    "line",
    [
        b"GET /\r\n",
        b"GET  / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1 \r\n",
        b" GET / HTTP/1.1\r\n",
        b"GET / HTTP/2.0\r\n",
        b"GET / RTSP/1.0\r\n",
        b"GET / http/1.1\r\n",
        b"GET /a b HTTP/1.1\r\n",
        b"GET /\x80 HTTP/1.1\r\n",
        b"GET /a#b HTTP/1.1\r\n",
        b"GET a HTTP/1.1\r\n",
        b"GET * HTTP/1.1\r\n",
        b"GET ftp://a/ HTTP/1.1\r\n",
        b"G<>T / HTTP/1.1\r\n",
    ],
)
def test_request_lines_that_are_refused(line: bytes) -> None:
    with pytest.raises(APIError, match="no valid HTTP") as caught:
        Head(line)
    assert (caught.value.status, caught.value.code) == (400, "invalid_http")


@pytest.mark.parametrize(
    ("line", "method"),
    [
        (b"CONNECT a:443 HTTP/1.1\r\n", "CONNECT"),
        (b"TRACE / HTTP/1.1\r\n", "TRACE"),
        (b"M-SEARCH * HTTP/1.1\r\n", "M-SEARCH"),
        (b"get / HTTP/1.1\r\n", "get"),
        (b"A" * 9000 + b" / HTTP/1.1\r\n", "A" * 32),
    ],
)
def test_methods_that_are_served_nowhere(line: bytes, method: str) -> None:
    with pytest.raises(APIError) as caught:
        Head(line)
    assert (caught.value.status, caught.value.code) == (405, "method_not_allowed")
    assert caught.value.message == f"The method {method} is not served; use one of {SERVED}, in capitals."
    assert caught.value.headers == {"Allow": SERVED}


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ([], "Host"),
        ([(b"Host", b"a"), (b"Host", b"a")], "Host"),
        ([(b"Host", b"a/b")], "Host"),
        ([(b"Host", b"a@b")], "Host"),
        ([(b"Host", b"a:b")], "Host"),
        ([(b"Host", b"[::1")], "Host"),
        ([(b"Host", b"a"), (b"Transfer-Encoding", b"gzip, chunked")], "Transfer-Encoding"),
        (
            [(b"Host", b"a"), (b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")],
            "Transfer-Encoding",
        ),
        ([(b"Host", b"a"), *[(b"X", b"y")] * MAX_HEADERS], f"more than {MAX_HEADERS} headers"),
    ],
)
def test_headers_that_are_refused(headers: list[tuple[bytes, bytes]], problem: str) -> None:
    with pytest.raises(APIError, match=problem):
        read(LINE, *headers)


def test_chunks_in_http_1_0_are_refused() -> None:
    with pytest.raises(APIError, match="Transfer-Encoding"):
        read(b"POST / HTTP/1.0\r\n", (b"Transfer-Encoding", b"chunked"))


def test_a_url_as_target_must_name_the_host_of_the_header() -> None:
    read(b"GET http://Gateway.test:80/v1/models HTTP/1.1\r\n", (b"Host", b"gateway.test:80"))
    with pytest.raises(APIError, match="another host"):
        read(b"GET http://other.test/v1/models HTTP/1.1\r\n", (b"Host", b"gateway.test"))


def test_a_head_has_a_largest_size() -> None:
    head = Head(LINE)
    head.take(MAX_HEAD_BYTES - len(LINE))
    with pytest.raises(APIError, match="longer than 65536 bytes"):
        head.take(1)
