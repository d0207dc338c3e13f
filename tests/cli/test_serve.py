"""`heliograph serve` with real weights in real processes."""

import os
import shutil
import signal
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image

from cli.serving import Serving
from cluster.addresses import free_port
from cluster.leash import Leash
from cluster.processes import descendants
from cluster.waiting import eventually, is_answered
from pictures import classify

Start = Callable[..., Serving]
NothingLeft = Callable[[list[int]], None]

LOCALAI_FILE = """\
name: Shapes by LocalAI
parameters:
  model: tiny-model/model
step: 20
cfg_scale: 4
diffusers:
  pipeline_type: stablediffusionpipeline
  cuda: false
"""
NO_WEIGHTS = "name: absent\nbackend: diffusers\nparameters:\n  model: nowhere/model.safetensors\n"


def red_circle(path: Path) -> None:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.size == (128, 128)
        drawn = classify(picture)
    assert (drawn.colour, drawn.shape, drawn.background) == ("red", "circle", "white")


def test_the_printed_command_draws_and_ctrl_c_leaves_nothing(
    start_serve: Start, nothing_left: NothingLeft, root: Path, tmp_path: Path
) -> None:
    """Two models: the example, and a LocalAI file."""
    examples = root / "examples"
    (tmp_path / "shapes.yaml").write_text(LOCALAI_FILE.replace("Shapes by LocalAI", "shapes"))
    serving = start_serve(
        examples / "tiny.yaml", tmp_path / "shapes.yaml", "--models-dir", examples, "--port", "0", "--verbose"
    )
    serving.wait_ready()
    assert f"{serving.url} (models: tiny, shapes)" in serving.output
    assert "\nshapes | " in serving.output

    drawn = subprocess.run(
        ["sh", "-c", serving.command], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert (drawn.returncode, drawn.stderr) == (0, "")
    red_circle(tmp_path / "picture.png")

    processes = serving.processes()
    assert len(processes) >= 5, "serve, two runtimes and their workers"
    runtime = serving.runtime("tiny").cmdline()
    folder = Path(runtime[runtime.index("--manifest") + 1]).parent
    assert folder.stat().st_mode & 0o077 == 0
    serving.leash.send_signal(signal.SIGINT)
    assert serving.leash.wait(timeout=60) == 0
    nothing_left(processes)
    assert not folder.exists()


def test_the_example_of_the_other_engine_draws_by_its_printed_command(
    start_serve: Start, nothing_left: NothingLeft, root: Path, tmp_path: Path
) -> None:
    serving = start_serve(root / "examples" / "tiny-flux.yaml", "--port", "0")
    serving.wait_ready()

    subprocess.run(["sh", "-c", serving.command], cwd=tmp_path, check=True, timeout=120)
    red_circle(tmp_path / "picture.png")

    processes = serving.processes()
    serving.leash.send_signal(signal.SIGINT)
    assert serving.leash.wait(timeout=60) == 0
    nothing_left(processes)


def test_a_localai_folder_as_it_is(start_serve: Start, nothing_left: NothingLeft, root: Path, tmp_path: Path) -> None:
    """Beside a model that works: one without weights, a language model, an alias and a disabled one."""
    models = tmp_path / "models"
    models.mkdir()
    shutil.copytree(root / "examples" / "tiny-model" / "model", models / "tiny-model" / "model")
    (models / "shapes.yaml").write_text(LOCALAI_FILE)
    (models / "absent.yml").write_text(NO_WEIGHTS)
    (models / "llama.yaml").write_text("name: llama\nbackend: llama-cpp\nparameters:\n  model: llama.gguf\n")
    (models / "notes.txt").write_text("not a manifest")
    (models / "alias.yaml").write_text("name: dall-e-2\nalias: Shapes by LocalAI\n")
    (models / "retired.yaml").write_text("name: retired\ndisabled: true\nparameters:\n  model: tiny-model/model\n")
    serving = start_serve(models, "--port", "0")
    serving.wait_ready()

    assert "Warning: " in serving.output
    assert "llama.yaml: spec.backend: " in serving.output
    assert "Error: absent could not be loaded: " in serving.output
    assert "nowhere/model" in serving.output
    assert "(models: Shapes by LocalAI)" in serving.output
    subprocess.run(["sh", "-c", serving.command], cwd=tmp_path, check=True, timeout=120)
    red_circle(tmp_path / "picture.png")
    statuses = {
        model: httpx.post(
            f"{serving.url}/v1/images/generations",
            json={"model": model, "prompt": "a red circle", "steps": 1},
            timeout=60,
            trust_env=False,
        ).status_code
        for model in ("dall-e-2", "retired", "absent", "llama")
    }
    assert statuses == {"dall-e-2": 200, "retired": 403, "absent": 503, "llama": 404}

    processes = serving.processes()
    serving.leash.send_signal(signal.SIGTERM)
    assert serving.leash.wait(timeout=60) == 0
    nothing_left(processes)


def test_a_runtime_that_dies_is_started_again_and_a_killed_serve_leaves_nothing(
    start_serve: Start, nothing_left: NothingLeft, root: Path
) -> None:
    serving = start_serve(root / "examples" / "tiny.yaml", "--port", "0")
    serving.wait_ready()
    first = serving.runtime("tiny")
    first_processes = serving.processes()[1:]
    first.kill()

    serving.wait_for("tiny is ready again")
    assert "tiny: the runtime was ended by SIGKILL, " in serving.output
    assert "; its runtime is started again in 1 s" in serving.output
    eventually(serving.answers, what="picture from the new runtime")
    assert serving.runtime("tiny").pid != first.pid
    nothing_left(first_processes)

    processes = serving.processes()
    os.kill(serving.leash.pid, signal.SIGKILL)
    serving.leash.wait(timeout=30)
    nothing_left(processes)


def test_no_model_that_loads_is_an_error(start_serve: Start, nothing_left: NothingLeft, tmp_path: Path) -> None:
    manifest = tmp_path / "absent.yaml"
    manifest.write_text(NO_WEIGHTS)
    serving = start_serve(manifest, "--port", "0")

    assert serving.leash.wait(timeout=120) == 1
    *_, reason, last = serving.output.splitlines()
    assert reason.startswith("Error: absent could not be loaded: ")
    assert "nowhere/model" in reason
    assert last == "Error: no model could be loaded"
    assert "Traceback" not in serving.output


def test_a_key_guards_the_gateway_and_stays_out_of_the_runtimes(start_serve: Start, root: Path, tmp_path: Path) -> None:
    """The gateway answers while models load, and a request waits for a model that does."""
    port = free_port()
    example = root / "examples" / "tiny.yaml"
    serving = start_serve(example, "--host", "0.0.0.0", "--port", str(port), env={"HELIOGRAPH_API_KEY": "s3cret"})
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
        serving.wait_for("Loading tiny")
        runtime = eventually(lambda: serving.processes()[1:], what="runtime")[0]
        assert client.get("/v1/models").status_code == 401
        key = {"Authorization": "Bearer s3cret"}
        assert [model["id"] for model in client.get("/v1/models", headers=key).json()["data"]] == ["tiny"]
        told = client.get("/v1/models/tiny", headers=key).json()["heliograph"]
        assert (told["state"], told["message"]) == ("loading", "it is loading; try again soon.")
        answer = client.post("/v1/images/generations", json={"prompt": "a red circle"}, headers=key, timeout=240)

    (tmp_path / "picture.png").write_bytes(b64decode(answer.raise_for_status().json()["data"][0]["b64_json"]))
    red_circle(tmp_path / "picture.png")
    assert "HELIOGRAPH_API_KEY" not in psutil.Process(runtime).environ()
    assert "s3cret" not in serving.output


@pytest.mark.parametrize(("presses", "status"), [(1, 0), (2, 130)])
def test_ctrl_c_while_loading(
    start_serve: Start, nothing_left: NothingLeft, root: Path, presses: int, status: int
) -> None:
    port = free_port()
    serving = start_serve(root / "examples" / "tiny.yaml", "--port", str(port))
    eventually(lambda: len(serving.processes()) > 1, what="runtime")
    processes = serving.processes()
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        eventually(lambda: is_answered(f"{client.base_url}/readyz"), what="gateway")
        waiting = pool.submit(client.post, "/v1/images/generations", json={"prompt": "a red circle"})
        held = 'heliograph_gateway_held_requests{model="tiny",namespace=""} 1.0'
        eventually(lambda: held in client.get("/metrics").text, what="a request that waits for the model")
        serving.leash.send_signal(signal.SIGINT)
        serving.wait_for("Stopping; Ctrl-C again stops at once")
        # It does not wait for a model that will not be.
        answer = waiting.result(15)
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == "The model 'tiny' is not ready: heliograph serve is stopping."
    if presses == 2:
        # A runtime that does not heed SIGTERM is what a second Ctrl-C is for.
        os.kill(serving.runtime("tiny").pid, signal.SIGSTOP)
        serving.leash.send_signal(signal.SIGINT)

    assert serving.leash.wait(timeout=60) == status
    nothing_left(processes)


def test_ctrl_c_at_a_terminal(nothing_left: NothingLeft, root: Path, tmp_path: Path) -> None:
    """A pseudo-terminal shows the spinner, and its line discipline makes SIGINT of a typed Ctrl-C."""
    keyboard = tmp_path / "keyboard"
    os.mkfifo(keyboard)
    terminal = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    tiny = str(root / "examples" / "tiny.yaml")
    serve = [sys.executable, "-m", "heliograph", "serve", tiny, "--port", "0"]
    with (
        Leash(
            ["sh", "-c", 'exec "$@" <"$0"', keyboard, sys.executable, "-c", terminal, *serve],
            log=tmp_path / "screen",
            env={**os.environ, "TERM": "xterm-256color"},
        ) as leash,
        keyboard.open("wb", buffering=0) as keys,
    ):
        leash.wait_until(lambda: "Loading tiny" in leash.log.read_text(errors="replace"))
        processes = eventually(lambda: descendants(leash.pid)[1:] and descendants(leash.pid), what="runtime")
        keys.write(b"\x03")
        assert leash.wait(timeout=60) == 0
    screen = leash.log.read_text(errors="replace")
    assert "\x1b[?25l" in screen, "the cursor is hidden while the spinner turns"
    assert screen.count("\x1b[?25h") >= 1, "and is there again"
    assert "Stopping; Ctrl-C again stops at once" in screen
    nothing_left(processes)
