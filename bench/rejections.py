"""Measure how fast requests are refused by gateway and runtime, next to a bare FastAPI app that refuses all of them.

    python bench/rejections.py [--requests 200]

Each class of request goes to both sides in turn, over one connection each; the ratio is of the medians. The peer reads
the body as JSON where it is JSON, and answers 400: what any server of this kind takes at least. What is refused by the
runtime passes the gateway first, so that two servers read it.
"""

import argparse
import base64
import json
import socket
import statistics
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GOAL_MS = 50
JSON = "application/json"
PATH = "/v1/images/edits"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"

Class = tuple[str, str, bytes]
"""Who refuses it and why, its Content-Type, and its body."""

_PEER = """
import sys, uvicorn
from fastapi import FastAPI, HTTPException, Request
app = FastAPI()
@app.post("/{path:path}")
async def refuse(request: Request) -> None:
    body = await request.body()
    try:
        if "json" in request.headers["content-type"]:
            await request.json()
    except (ValueError, RecursionError):
        pass
    raise HTTPException(400, "refused")
uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False)
"""


def main() -> None:
    options = _options()
    port, peer_port = _free_port(), _free_port()
    serve = subprocess.Popen(
        [sys.executable, "-m", "heliograph", "serve", ROOT / "examples" / "tiny.yaml", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    peer = subprocess.Popen([sys.executable, "-c", _PEER, str(peer_port)])
    try:
        _wait_until_ready(serve)
        print(f"{'refused':<52}{'p50':>8}{'p95':>8}{'max':>8} ms{'peer p50':>10} ms{'ratio':>7}   under {GOAL_MS} ms")
        for name, content_type, body in _classes():
            _report(name, *_measure(port, peer_port, content_type, body, options.requests))
    finally:
        for process in (serve, peer):
            process.terminate()
            process.wait(timeout=60)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=200, help="requests of each class to each side (default 200)")
    return parser.parse_args()


def _classes() -> list[Class]:
    picture = base64.b64encode(PNG + bytes(100)).decode()
    large = base64.b64encode(PNG + bytes(1_000_000)).decode()
    form = b'--B\r\nContent-Disposition: form-data; name="steps"\r\n\r\nmany\r\n--B--\r\n'
    bodies = {
        "by the gateway: no JSON": b'{"prompt": ',
        "by the gateway: 100000 brackets": b"[" * 100_000,
        "by the gateway: a wrong value": b'{"prompt": "a", "image": "", "steps": "many"}',
        "by the gateway: no such model": _body(model="other"),
        "by the gateway: too many pictures": _body(n=99),
        "by the gateway: no picture": _body(image="aGFsbG8="),
        "by the gateway: a URL of no allowed host": _body(image="http://169.254.169.254/"),
        "by the runtime: no such LoRA adapter": _body(prompt="a <lora:other:1>"),
        "by the runtime: a damaged picture": _body(image=picture),
        "by the runtime: a damaged picture of 1 MB": _body(image=large),
    }
    return [
        ("by the gateway: a type that no body may have", "text/plain", b"a"),
        ("by the gateway: a wrong value in a form", "multipart/form-data; boundary=B", form),
        *((name, JSON, body) for name, body in bodies.items()),
    ]


def _body(**fields: object) -> bytes:
    # A whole picture of one pixel, so that nothing but the named field is at fault.
    pixel = "R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw=="
    return json.dumps({"prompt": "a", "image": pixel} | fields).encode()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _wait_until_ready(serve: subprocess.Popen[str]) -> None:
    assert serve.stdout is not None
    for line in serve.stdout:
        if "is ready at" in line:
            return
    raise SystemExit("heliograph serve ended before it was ready; run it by hand to see why")


def _measure(port: int, peer_port: int, content_type: str, body: bytes, count: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds of each request to either side; the first tenth is a warm-up and not counted."""
    found: tuple[list[float], list[float]] = ([], [])
    connections = (HTTPConnection("127.0.0.1", port), HTTPConnection("127.0.0.1", peer_port))
    for index in range(count + count // 10):
        for connection, side in zip(connections, found, strict=True):
            start = time.perf_counter()
            connection.request("POST", PATH, body, {"Content-Type": content_type})
            answer = connection.getresponse()
            answer.read()
            if not 400 <= answer.status < 500:
                raise SystemExit(f"answered with {answer.status} instead of being refused: {body[:100]!r}")
            if index >= count // 10:
                side.append((time.perf_counter() - start) * 1000)
    for connection in connections:
        connection.close()
    return found


def _report(name: str, ours: list[float], peers: list[float]) -> None:
    median, peer = statistics.median(ours), statistics.median(peers)
    p95 = statistics.quantiles(ours, n=20, method="inclusive")[-1]
    within = sum(value < GOAL_MS for value in ours) / len(ours)
    print(
        f"{name:<52}{median:8.1f}{p95:8.1f}{max(ours):8.1f}   {peer:10.1f}   {median / peer:7.1f}   {within:.1%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
