"""What the gateway of `heliograph serve` tells of its models while they are fetched, loaded, ready or broken."""

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cli.serving import Serving
from cluster.addresses import free_port
from cluster.waiting import eventually
from runtime.file_host import FileHost, file_host
from runtime.hub_host import add_repository

Start = Callable[..., Serving]


@pytest.fixture
def host() -> Iterator[FileHost]:
    with file_host() as running:
        yield running


def write(folder: Path, name: str, model: str, **more: object) -> None:
    diffusers = {"pipeline_type": "StableDiffusionPipeline"}
    spec = {"name": name, "parameters": {"model": model}, "diffusers": diffusers, **more}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(spec))


def test_a_model_is_fetched_loaded_and_ready_and_another_is_broken(
    start_serve: Start, host: FileHost, root: Path, tmp_path: Path
) -> None:
    weights = root / "examples" / "tiny-model" / "model"
    files = {str(path.relative_to(weights)): path.read_bytes() for path in weights.rglob("*") if path.is_file()}
    add_repository(host, "shapes/tiny", files)
    host.hold_after = 200_000
    write(tmp_path, "tiny", "shapes/tiny")
    write(tmp_path, "missing", "shapes/none")
    (tmp_path / "off.yaml").write_text(yaml.safe_dump({"name": "off", "disabled": True, "parameters": {"model": "m"}}))
    (tmp_path / "nick.yaml").write_text(yaml.safe_dump({"name": "nick", "alias": "tiny"}))
    port = free_port()
    environment = {"HF_ENDPOINT": host.url(""), "HF_HUB_OFFLINE": "0"}
    serving = start_serve(tmp_path, "--port", str(port), env=environment)

    def told(name: str) -> dict[str, Any]:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/v1/models/{name}", timeout=30, trust_env=False)
        except httpx.TransportError:
            return {"state": None, "progress": None}
        found: dict[str, Any] = answer.json()["heliograph"]
        return found

    eventually(lambda: told("tiny")["progress"], what="a fetch that has begun", timeout=120)
    fetched = told("nick")
    assert (fetched["state"], fetched["reason"], fetched["capabilities"]) == ("loading", "Fetching", None)
    assert 0 < fetched["progress"] < 1
    eventually(lambda: told("missing")["state"] == "failed", what="the end of the other", timeout=60)
    assert "shapes/none" in told("missing")["message"]

    host.released.set()
    eventually(lambda: told("tiny")["reason"] == "Starting", what="loading", timeout=120)
    serving.wait_ready()
    ready = told("tiny")
    assert (ready["state"], ready["reason"], ready["message"], ready["progress"]) == ("ready", None, None, None)
    assert ready["capabilities"]["family"] == "StableDiffusion"
    listed = httpx.get(f"{serving.url}/v1/models", trust_env=False).json()["data"]
    assert {entry["id"]: entry["heliograph"]["state"] for entry in listed} == {
        "tiny": "ready", "nick": "ready", "missing": "failed",
    }  # fmt: skip
    seen = httpx.get(f"{serving.url}/v1/admin/models", trust_env=False).json()["data"]
    assert {model["name"]: model["state"] for model in seen} == {
        "tiny": "ready", "missing": "failed", "off": "disabled",
    }  # fmt: skip
    (replica,) = next(model for model in seen if model["name"] == "tiny")["replicas"]
    assert (replica["ready"], replica["busy"], replica["queue"], replica["gpu"]) == (True, False, 0, None)
    started = httpx.post(f"{serving.url}/v1/models/tiny/load", trust_env=False)
    assert (started.status_code, started.json()["heliograph"]["state"]) == (200, "ready")

    runtime = serving.runtime("tiny")
    command = runtime.cmdline()
    folder = Path(command[command.index("--manifest") + 1]).parent
    # As systemd-tmpfiles does in /tmp with what nobody touched for ten days.
    shutil.rmtree(folder)
    runtime.kill()
    eventually(lambda: told("tiny")["state"] == "loading", what="news of its end", timeout=30)
    eventually(lambda: told("tiny")["state"] == "ready", what="the next runtime", timeout=120)
    assert told("tiny")["reason"] is None
    assert folder.stat().st_mode & 0o077 == 0

    shutil.rmtree(folder)
    serving.leash.send_signal(signal.SIGINT)
    assert serving.leash.wait(timeout=60) == 0
    assert "Traceback" not in serving.output
