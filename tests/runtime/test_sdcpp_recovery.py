"""Files that break, for stable-diffusion.cpp: none ends a process, and with a sound one the next request is served."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cluster.waiting import eventually
from runtime import miniature_sdcpp
from runtime.conftest import StartRuntime
from runtime.corrupt_files import CORRUPT, OTHERS, write
from runtime.runtimes import Runtime, command, difference, pictures, write_manifest

FLUX: dict[str, Any] = {
    "parameters": {"model": "flux.gguf"},
    "options": ["clip_l_path:clip_l.safetensors", "taesd_path:taef1.safetensors"],
    "step": 1,
}
ASKED: dict[str, Any] = {"prompt": "a red circle", "size": "64x64", "seed": 1}
LOAD = """
import json, sys
from pathlib import Path
from heliograph_api.spec import parse_spec
from heliograph_runtime.engines import make_engine
from heliograph_runtime.engines.protocol import LoadError

folder = Path(sys.argv[1])
for line in sys.stdin:
    spec = parse_spec(json.loads(line))
    try:
        make_engine(spec).load(spec, models_dir=folder)
    except LoadError as error:
        print("told", json.dumps([error.reason, error.message]), flush=True)
    else:
        print("told", json.dumps(["Loaded", ""]), flush=True)
"""
HEADER_BYTES = 4_000
"""The first of the 20,000 bytes that the header of the miniature's GGUF file has: the rest is more of the same."""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    miniature_sdcpp.save_flux(folder)
    return folder


def loads(folder: Path, specs: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return the reason and the message with which one process refuses each model, or `Loaded`; it must live on."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOAD, str(folder)],
        input="\n".join(map(json.dumps, specs)),
        stdout=subprocess.PIPE,
        text=True,
        timeout=240,
        check=True,
    )
    told = [line.removeprefix("told ") for line in done.stdout.splitlines() if line.startswith("told ")]
    return [(reason, message) for reason, message in map(json.loads, told)]


def test_no_corrupt_file_ends_the_process_that_loads_it(models: Path) -> None:
    cases = {**CORRUPT, **{name: content for name, (_, content) in OTHERS.items()}}
    files = [write(models / f"{number}.gguf", content).name for number, content in enumerate(cases.values())]
    as_model = [FLUX | {"parameters": {"model": file}} for file in files]
    as_encoder = [FLUX | {"options": [f"clip_l_path:{file}", FLUX["options"][1]]} for file in files[::4]]

    assert len(files) > 40
    told = loads(models, [*as_model, *as_encoder, FLUX])

    expected = ["CorruptWeights"] * len(CORRUPT) + [reason for reason, _ in OTHERS.values()]
    assert [reason for reason, _ in told] == [*expected, *expected[::4], "Loaded"]
    for (_, message), file in zip(told, files, strict=False):
        assert message.startswith("parameters.model: ")
        assert f"/{file} " in message


def cut(content: bytes, numbers: random.Random) -> bytes:
    return content[: numbers.randrange(len(content))]


def flipped(content: bytes, numbers: random.Random) -> bytes:
    place = numbers.randrange(HEADER_BYTES)
    return content[:place] + bytes([content[place] ^ 1 << numbers.randrange(8)]) + content[place + 1 :]


def overwritten(content: bytes, numbers: random.Random) -> bytes:
    place = numbers.randrange(HEADER_BYTES)
    return content[:place] + numbers.randbytes(8) + content[place + 8 :]


@pytest.mark.parametrize("damage", [cut, flipped, overwritten])
def test_no_damage_to_a_sound_file_ends_the_process_that_loads_it(
    models: Path, damage: Callable[[bytes, random.Random], bytes]
) -> None:
    numbers = random.Random(1)
    sound = (models / "flux.gguf").read_bytes()
    files = [models / f"{number}.gguf" for number in range(20)]
    for file in files:
        file.write_bytes(damage(sound, numbers))

    told = loads(models, [*(FLUX | {"parameters": {"model": file.name}} for file in files), FLUX])

    assert told[-1][0] == "Loaded"
    assert len(told) == len(files) + 1
    assert any(reason == "CorruptWeights" for reason, _ in told)


SAMPLE = ("GGUF: cut in the data", "GGUF: tensor count that lies", "safetensors: huge header", "wrong magic")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    miniature_sdcpp.save_flux(folder)
    return folder


@pytest.fixture(scope="module")
def flux(served: Path, start_runtime: StartRuntime) -> Runtime:
    return start_runtime(FLUX, base={}, models_dir=served)


@pytest.mark.parametrize(
    ("file", "case"), [*(("flux.gguf", case) for case in SAMPLE), ("clip_l.safetensors", SAMPLE[2])]
)
def test_a_file_that_became_corrupt_costs_one_request_alone(
    served: Path, flux: Runtime, tmp_path: Path, file: str, case: str
) -> None:
    (before,) = flux.draw(**ASKED)
    field = "parameters.model" if file == "flux.gguf" else "options: clip_l_path"
    shutil.copy(served / file, tmp_path / file)
    content = CORRUPT[case] if case in CORRUPT else OTHERS[case][1]
    # A file that is in use is replaced, and not written to, which its readers would see.
    write(tmp_path / "corrupt", content).replace(served / file)
    with ThreadPoolExecutor(1) as executor:
        answer = flux.start(executor, **{**ASKED, "steps": 500})
        flux.worker.kill()
        lost = answer.result()

        assert (lost.status_code, lost.json()["error"]["code"]) == (500, "worker_crashed")
        eventually(lambda: field in flux.get("/readyz").text, what="the reason")
        unready = flux.get("/readyz")
        assert (unready.status_code, unready.json()["error"]["code"]) == (503, "not_ready")
        assert file in unready.json()["error"]["message"]
        assert flux.get("/healthz").status_code == 200
        waiting = executor.submit(flux.post, **ASKED)
        (tmp_path / file).replace(served / file)
        flux.wait_ready()

        (after,) = pictures(waiting.result())
    assert difference(after, before) == 0


def test_a_request_does_not_wait_for_a_corrupt_file_longer_than_it_may(
    models: Path, start_runtime: StartRuntime
) -> None:
    runtime = start_runtime(FLUX, base={}, models_dir=models, request_timeout_seconds=3)
    (models / "flux.gguf").rename(models / "sound.gguf")
    write(models / "flux.gguf", CORRUPT["GGUF: cut in the data"])
    runtime.worker.kill()
    eventually(lambda: runtime.get("/readyz").status_code == 503, what="end of the worker")

    answer = runtime.post(**ASKED)

    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert str(models) not in answer.text
    (models / "sound.gguf").replace(models / "flux.gguf")
    runtime.wait_ready()
    assert len(runtime.draw(**ASKED)) == 1


@pytest.mark.parametrize("case", SAMPLE[:2])
def test_a_runtime_that_starts_on_a_corrupt_file_ends_with_the_reason(models: Path, tmp_path: Path, case: str) -> None:
    write(models / "flux.gguf", CORRUPT[case])

    arguments = command(write_manifest(tmp_path, FLUX), port=0, models_dir=models)
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=120)

    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "parameters.model: " in last
    assert "flux.gguf " in last
