"""What ends, and what goes on, when a process or a client ends."""

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from cluster.addresses import free_port
from cluster.leash import Leash
from cluster.processes import is_running
from cluster.waiting import eventually
from pictures import Content, classify
from runtime.conftest import StartRuntime
from runtime.runtimes import DRAWING_SECONDS, EXAMPLES, LOADING_SECONDS, LONG, Runtime, command, pictures

RED_CIRCLE: dict[str, Any] = {"prompt": "a red circle on a white background", "seed": 1}
FOUND = Content("red", "circle", "white")


@pytest.fixture(scope="module")
def worn(start_runtime: StartRuntime) -> Runtime:
    """A runtime whose worker may be killed."""
    return start_runtime({"serving": {"limits": {"maxConcurrent": 2, "retryAfterSeconds": 7}}}, cancel_grace_seconds=1)


def test_a_crash_of_the_worker_fails_its_requests_and_no_others(worn: Runtime) -> None:
    restarts = worn.metric("worker_restarts_total")
    with ThreadPoolExecutor() as executor:
        drawn = worn.start(executor, **LONG)
        waiting = executor.submit(worn.post, **RED_CIRCLE)
        eventually(lambda: worn.metric("queue_length"), what="a waiting image")

        worn.worker.kill()
        failed, served = drawn.result(), waiting.result()

    assert failed.status_code == 500
    assert failed.headers["x-should-retry"] == "false"
    assert failed.json()["error"]["code"] == "worker_crashed"
    assert "SIGKILL" in failed.json()["error"]["message"]
    assert classify(pictures(served)[0]) == FOUND
    assert worn.metric("worker_restarts_total") == restarts + 1


def test_a_worker_that_ends_while_it_has_nothing_to_do_is_started_again(worn: Runtime) -> None:
    worn.worker.kill()
    eventually(lambda: worn.get("/readyz").status_code == 503, what="unreadiness")

    assert "SIGKILL" in worn.get("/readyz").json()["error"]["message"]
    assert worn.get("/healthz").status_code == 200
    assert classify(worn.draw(**RED_CIRCLE)[0]) == FOUND


def test_a_worker_that_does_not_stop_is_killed(worn: Runtime) -> None:
    with worn.left(**LONG):
        stuck = worn.worker
        stuck.suspend()
    eventually(lambda: not is_running(stuck.pid), what="end of the worker", timeout=60)

    assert classify(worn.draw(**RED_CIRCLE)[0]) == FOUND


def test_a_full_queue_answers_429(worn: Runtime) -> None:
    with ThreadPoolExecutor() as executor:
        with worn.left(**LONG):
            waiting = executor.submit(worn.post, **RED_CIRCLE)
            eventually(lambda: worn.metric("queue_length"), what="a waiting image")
            refused = worn.post(**RED_CIRCLE)

        assert waiting.result().status_code == 200
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "7"
    assert refused.json()["error"]["code"] == "queue_full"


def test_a_request_has_a_deadline(start_runtime: StartRuntime) -> None:
    runtime = start_runtime(request_timeout_seconds=2)
    answer = runtime.post(**LONG)
    runtime.wait_busy(False)

    assert answer.status_code == 504
    assert answer.headers["x-should-retry"] == "false"
    assert answer.json()["error"]["code"] == "deadline_exceeded"
    assert runtime.metric("images_total") == 0
    assert runtime.metric("requests_total", outcome="expired") == 1


def test_sigterm_lets_work_finish(start_runtime: StartRuntime) -> None:
    runtime = start_runtime()
    worker = runtime.worker
    with ThreadPoolExecutor() as executor:
        drawn = runtime.start(executor, **RED_CIRCLE, steps=100)
        waiting = executor.submit(runtime.post, **RED_CIRCLE)
        eventually(lambda: runtime.metric("queue_length"), what="a waiting image")

        runtime.leash.send_signal(signal.SIGTERM)
        eventually(lambda: _refused(runtime), what="closed port")
        answers = [drawn.result(), waiting.result()]

    assert [classify(pictures(answer)[0]) for answer in answers] == [FOUND, FOUND]
    assert runtime.leash.wait(timeout=60) == 0
    assert not is_running(worker.pid)


def test_the_worker_ends_with_the_http_process(start_runtime: StartRuntime) -> None:
    runtime = start_runtime()
    worker = runtime.worker
    with runtime.left(**LONG):
        runtime.leash.send_signal(signal.SIGKILL)
        runtime.leash.wait()

    eventually(lambda: not is_running(worker.pid), what="end of the worker", timeout=60)


def test_a_signal_for_the_whole_group_lets_work_finish(start_runtime: StartRuntime) -> None:
    """A terminal sends its Ctrl-C to every process of the group."""
    runtime = start_runtime()
    with ThreadPoolExecutor() as executor:
        drawn = runtime.start(executor, **RED_CIRCLE, steps=100)
        os.killpg(os.getpgid(runtime.worker.pid), signal.SIGINT)

        assert classify(pictures(drawn.result())[0]) == FOUND
    assert runtime.leash.wait(timeout=60) == 0


def test_the_http_process_is_free_of_torch(runtime: Runtime) -> None:
    """It starts fast and stays small; the worker holds what is heavy."""
    loaded = {process.pid: _libraries(process) for process in (psutil.Process(runtime.leash.pid), runtime.worker)}

    assert not loaded[runtime.leash.pid]
    assert loaded[runtime.worker.pid]


def test_the_runtime_ends_with_its_standard_input(tmp_path: Path) -> None:
    port = free_port()
    arguments = [*command(EXAMPLES / "tiny.yaml", port=port), "--watch-stdin"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stderr=log)
    try:
        eventually(lambda: psutil.Process(process.pid).children(), what="worker", timeout=LOADING_SECONDS)
        (worker,) = psutil.Process(process.pid).children()
        assert process.stdin
        process.stdin.close()

        assert process.wait(timeout=DRAWING_SECONDS) == 0
        assert not is_running(worker.pid)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("spec", "last_line"),
    [
        (
            "{parameters: {model: tiny-model/nothing}}",
            f"WeightsMissing: parameters.model: tiny-model/nothing was not found at {EXAMPLES}/tiny-model/nothing; put",
        ),
        ("{parameters: {model: a.gguf}}", "parameters.model: a.gguf was not found"),
        ("{parameters: {model: 5}}", "spec.parameters.model"),
        ("{step: 5, parameters: {model: tiny-model/model}, diffusers: {scheduler_type: restart}}", "use one of ddim, "),
    ],
)
def test_a_model_that_cannot_be_served_ends_the_process(tmp_path: Path, spec: str, last_line: str) -> None:
    manifest = tmp_path / "model.yaml"
    manifest.write_text(spec)
    with Leash(command(manifest, port=free_port()), log=tmp_path / "log") as leash:
        assert leash.wait(timeout=LOADING_SECONDS) == 1
        assert last_line in leash.tail(lines=1)


def test_a_port_that_is_taken_ends_the_process(runtime: Runtime, tmp_path: Path) -> None:
    port = int(runtime.url.rpartition(":")[2])
    with Leash(command(EXAMPLES / "tiny.yaml", port=port), log=tmp_path / "log") as leash:
        assert leash.wait(timeout=LOADING_SECONDS) == 1
        assert f"port: can't listen on 127.0.0.1 port {port}" in leash.tail(lines=1)


def _libraries(process: psutil.Process) -> list[str]:
    return [region.path for region in process.memory_maps() if "libtorch" in region.path]


def _refused(runtime: Runtime) -> bool:
    try:
        runtime.get("/healthz")
    except httpx.ConnectError:
        return True
    except httpx.TransportError:
        return False  # its connection was made just before the port was closed
    return False
