"""Keys that change while the gateway runs, from a file and from a folder as Kubernetes mounts it."""

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster.waiting import eventually
from gateway.running import Gateway, StartGateway
from heliograph_gateway.database import StateError
from heliograph_gateway.keys.document import Key, parse_keys
from heliograph_gateway.keys.keyring import KeyMetrics, Keyring
from heliograph_gateway.settings import GatewaySettings

RELOAD = 5.0
"""Seconds within which a change is in force."""


def document(*names: str, **fields: Any) -> str:
    """Return a document whose keys are called like their entries."""
    entries = [{"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), **fields} for name in names]
    return json.dumps({"keys": entries})


def mount(folder: Path, **files: str) -> None:
    """Lay files out as the kubelet does: links into a folder that is swapped as a whole."""
    version = folder / f"..{len(list(folder.iterdir()))}"
    version.mkdir()
    for name, text in files.items():
        (version / name).write_text(text)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)
    (folder / "..new").symlink_to(version.name)
    (folder / "..new").replace(folder / "..data")
    for link in folder.iterdir():
        if not link.name.startswith("..") and link.name not in files:
            link.unlink()


def status(gateway: Gateway, key: str, path: str = "/v1/models") -> int:
    return gateway.client.get(path, headers={"authorization": f"Bearer {key}"}).status_code


def becomes(gateway: Gateway, key: str, expected: int) -> None:
    eventually(lambda: status(gateway, key) == expected, what=f"{expected} for {key}", timeout=RELOAD)


def is_ok(gateway: Gateway) -> bool:
    text = gateway.client.get("/metrics", headers={"api-key": "single"}).text
    return "heliograph_gateway_keys_file_ok 1.0" in text


def test_a_file_is_taken_up_when_it_changes(start_gateway: StartGateway, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(document("a"))
    gateway = start_gateway(keys_file=path)
    assert (status(gateway, "a"), status(gateway, "b")) == (200, 401)
    path.write_text(document("a", "b"))
    becomes(gateway, "b", 200)
    path.write_text(document("b"))
    becomes(gateway, "a", 401)
    path.write_text(document("b", disabled=True))
    becomes(gateway, "b", 401)
    path.write_text(document("b"))
    becomes(gateway, "b", 200)
    path.write_text("keys: []")
    becomes(gateway, "b", 401)


def test_a_mounted_secret_is_taken_up_when_it_is_swapped(start_gateway: StartGateway, tmp_path: Path) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    mount(folder, **{"one.yaml": document("a"), "two.json": document("b")})
    gateway = start_gateway(keys_file=folder)
    assert (status(gateway, "a"), status(gateway, "b")) == (200, 200)
    mount(folder, **{"one.yaml": document("c"), "two.json": document("b")})
    becomes(gateway, "a", 401)
    assert (status(gateway, "b"), status(gateway, "c")) == (200, 200)
    mount(folder, **{"two.json": document("b", "d")})
    becomes(gateway, "c", 401)
    assert status(gateway, "d") == 200


def test_what_cannot_be_used_changes_nothing_and_is_told_once(
    start_gateway: StartGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(document("a"))
    with caplog.at_level(logging.INFO, "heliograph_gateway.keys.keyring"):
        gateway = start_gateway(keys_file=path, api_key="single")
        assert is_ok(gateway)
        path.write_text("keys:\n  - name: a\n    key: canary\n")
        eventually(lambda: not is_ok(gateway), what="metric of the broken file")
        assert status(gateway, "a") == 200
        path.unlink()
        eventually(lambda: "No such file" in caplog.text, what="log of the lost file")
        assert status(gateway, "a") == 200
        path.write_text(document("a", "b"))
        becomes(gateway, "b", 200)
        eventually(lambda: is_ok(gateway), what="metric of the mended file")
    problems = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(problems) == len(set(problems)) == 2
    assert f"keys_file: {path}: keys[0] (a)" in problems[0]
    assert "the keys that were read before stay in force" in problems[0]
    assert "canary" not in caplog.text


def test_keys_are_looked_after_whatever_went_wrong_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(document("a"))
    monkeypatch.setattr("heliograph_gateway.keys.keyring._POLL_SECONDS", 0.01)

    def parse(text: str) -> list[Key]:
        if "canary" in text:
            raise TypeError(text)
        return parse_keys(text)

    monkeypatch.setattr("heliograph_gateway.keys.keyring.parse_keys", parse)

    async def turns(text: str, is_seen: Callable[[], object]) -> None:
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").replace(path)
        await asyncio.to_thread(eventually, is_seen, what=text)

    async def scenario() -> None:
        keyring = Keyring(GatewaySettings(keys_file=path))
        await keyring.open()
        for broken in ("keys: !!set [a]", "keys: canary"):
            await turns(broken, lambda: keyring.problem)
            (metric, _) = KeyMetrics(keyring).collect()
            assert metric.samples[0].value == 0
            assert keyring.find([b"a"]), "what was read before stays in force"
            await turns(document("b"), lambda: not keyring.problem)
            assert keyring.find([b"b"])
            assert not keyring.find([b"a"])
            await turns(document("a"), lambda: keyring.find([b"a"]))
        await keyring.aclose()

    asyncio.run(scenario())
    assert "TypeError inside the gateway; the keys that were read before stay in force" in caplog.text
    assert "in _parsed" in caplog.text, "where it went wrong"
    assert "canary" not in caplog.text


def opening(settings: GatewaySettings) -> str:
    """Return why keys cannot be opened."""

    async def scenario() -> None:
        keyring = Keyring(settings)
        try:
            await keyring.open()
        finally:
            await keyring.aclose()

    with pytest.raises(StateError) as caught:
        asyncio.run(scenario())
    return str(caught.value)


def test_a_gateway_does_not_start_without_the_keys_that_it_is_to_have(tmp_path: Path) -> None:
    def problem(path: Path) -> str:
        return opening(GatewaySettings(keys_file=path, api_key="single"))

    path = tmp_path / "keys.yaml"
    assert problem(path) == (
        f"keys_file: {path} cannot be read: No such file or directory; name a file or folder of keys documents"
    )
    path.write_text("keys: 7")
    assert problem(path) == f"keys_file: {path}: keys: must be a list; write `keys: []` for none"
    path.write_bytes(b"\xff")
    assert problem(path) == f"keys_file: {path}: is not UTF-8"
    path.write_text(document("single"))
    assert "'default' and 'single' are one and the same key" in problem(path)
    path.write_text("#" * (1024 * 1024 + 1))
    assert "is longer than 1048576 bytes" in problem(path)
    folder = tmp_path / "folder"
    folder.mkdir()
    assert problem(folder).startswith(f"keys_file: {folder}: the folder holds no keys document")
    (folder / "b.yaml").write_text(document("a"))
    (folder / "a.yaml").write_text("keys: [7]")
    assert problem(folder) == f"keys_file: {folder}: a.yaml: keys[0]: must be a mapping with name and sha256"
    (folder / "a.yaml").write_text(document("a"))
    assert "'a' and 'a' are one and the same key; keep one entry" in problem(folder)


def test_requests_go_on_while_a_long_document_is_read(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    entries = [
        f"  - name: k{n}\n    sha256: {hashlib.sha256(bytes([n % 256, n // 256])).hexdigest()}\n" for n in range(3000)
    ]
    path.write_text("keys:\n" + "".join(entries))

    async def scenario() -> int:
        keyring = Keyring(GatewaySettings(keys_file=path))
        opening = asyncio.create_task(keyring.open())
        turns = 0
        while not opening.done():
            await asyncio.sleep(0.001)
            turns += 1
        await opening
        await keyring.aclose()
        return turns

    # The reads of the file alone give way two or three times.
    assert asyncio.run(scenario()) > 10
