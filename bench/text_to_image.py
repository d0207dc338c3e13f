"""Measure `heliograph serve` against a bare diffusers pipeline with the same weights, in the same run.

    python bench/text_to_image.py [--requests 8] [--concurrency 4] [--rounds 3]

The peer draws one image after the other in a loop, which is what a server with one lock around its pipeline reaches at
best. Rounds of both sides alternate, because a shared machine's speed drifts; the ratio is of the medians over rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "examples" / "tiny-model" / "model"
PROMPT = "a red circle on a white background"
STEPS, GUIDANCE = 20, 4.0


def main() -> None:
    options = _options()
    peer = _Peer()
    port = 18080
    serve = subprocess.Popen(
        [sys.executable, "-m", "heliograph", "serve", ROOT / "examples" / "tiny.yaml", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        _wait_until_ready(serve)
        url = f"http://127.0.0.1:{port}/v1/images/generations"
        one = _alternate(
            options.rounds, lambda: _requests(url, options.requests, 1), lambda: peer.draw(options.requests)
        )
        many = _alternate(
            options.rounds,
            lambda: _requests(url, options.requests, options.concurrency),
            lambda: peer.draw(options.requests),
        )
    finally:
        serve.terminate()
        serve.wait(timeout=60)
        peer.close()
    _report("one client", options.requests, *one)
    _report(f"{options.concurrency} clients", options.requests, *many)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=8, help="images in one round (default 8)")
    parser.add_argument("--concurrency", type=int, default=4, help="clients of the second part (default 4)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each side (default 3)")
    return parser.parse_args()


def _wait_until_ready(serve: subprocess.Popen[str]) -> None:
    assert serve.stdout is not None
    for line in serve.stdout:
        if "is ready at" in line:
            return
    raise SystemExit("heliograph serve ended before it was ready; run it by hand to see why")


def _alternate(rounds: int, ours: Callable[[], None], peers: Callable[[], None]) -> tuple[float, float]:
    """Return the median seconds of a round of each side; the first round of each is a warm-up and not counted."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for index in range(rounds + 1):
        for side, work in zip(seconds, (ours, peers), strict=True):
            start = time.perf_counter()
            work()
            if index:
                side.append(time.perf_counter() - start)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def _requests(url: str, count: int, clients: int) -> None:
    def ask(seed: int) -> None:
        body = json.dumps({"model": "tiny", "prompt": PROMPT, "seed": seed, "steps": STEPS, "cfg_scale": GUIDANCE})
        request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=600) as answer:
            json.load(answer)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(ask, range(count)))


class _Peer:
    """A bare pipeline in a process of its own, which draws as many images as a line of its input says."""

    _CODE = f"""
import io, sys, torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained({str(MODEL)!r}, dtype=torch.float32, local_files_only=True)
pipe.set_progress_bar_config(disable=True)
for line in sys.stdin:
    for seed in range(int(line)):
        image = pipe({PROMPT!r}, num_inference_steps={STEPS}, guidance_scale={GUIDANCE},
                     generator=torch.Generator().manual_seed(seed)).images[0]
        image.save(io.BytesIO(), "PNG")
    print("done", flush=True)
"""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # As the runtime sets it: without it, torch's threads spin against whatever else runs, and the peer would
            # lose for a reason that is none of its own.
            env={**os.environ, "GOMP_SPINCOUNT": "10000"},
        )

    def draw(self, count: int) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        if "done" not in self._process.stdout.readline():
            raise SystemExit("the bare pipeline ended; run its code by hand to see why")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=60)


def _report(name: str, count: int, ours: float, peers: float) -> None:
    print(
        f"{name}: heliograph {count / ours:.2f} images/s, bare pipeline {count / peers:.2f} images/s, "
        f"ratio {peers / ours:.2f}"
    )


if __name__ == "__main__":
    main()
