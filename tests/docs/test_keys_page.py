"""What docs/keys.md has an administrator type adds keys, and takes none away."""

import asyncio
import base64
import json
from pathlib import Path

from docs.administrator import NAMESPACE, Administrator
from docs.blocks import blocks_in
from docs.reader import Reader
from heliograph_gateway.keys.keyring import Keyring
from heliograph_gateway.settings import GatewaySettings


def test_keys_are_added_to_the_first_and_withdrawn_without_it(
    administrator: Administrator, root: Path, tmp_path: Path
) -> None:
    """The blocks of two sections are followed, and the Secret is read as a gateway that mounts it does."""
    text = (root / "docs" / "keys.md").read_text(encoding="utf-8")
    sections = {part.partition("\n")[0]: part for part in text.split("\n## ")}
    reader = Reader(tmp_path, variables=administrator.variables, programs=administrator.programs)
    administrator.install()
    first = _secret(administrator, "heliograph-first-key")["api-key"]
    made = b""
    found = []
    for section in ("Making keys", "Withdrawing keys"):
        for block in blocks_in(sections[section], "docs/keys.md"):
            printed = reader.follow(block)
            made = made or next((line for line in printed.encode().splitlines() if line.startswith(b"hg-")), b"")
        keyring = _mounted(administrator, tmp_path / section)
        found.append((keyring, keyring.find([first]), keyring.find([made])))

    (both, _, added), (left, kept, withdrawn) = found
    assert both.names() == {"default", "team-a", "grafana"}
    assert added
    assert (added.name, added.disabled, added.images_per_day) == ("team-a", False, 500)
    assert left.names() == {"default", "team-a"}
    assert kept
    assert set(kept.scopes) == {"models", "admin"}
    assert withdrawn
    assert withdrawn.disabled


def _mounted(administrator: Administrator, folder: Path) -> Keyring:
    """Return the keys of a gateway whose folder of documents is the Secret."""
    folder.mkdir()
    for name, content in _secret(administrator, "heliograph-gateway-keys").items():
        (folder / name).write_bytes(content)

    async def read() -> Keyring:
        keyring = Keyring(GatewaySettings(keys_file=folder))
        await keyring.open()
        await keyring.aclose()
        return keyring

    return asyncio.run(read())


def _secret(administrator: Administrator, name: str) -> dict[str, bytes]:
    got = administrator.cluster.kubectl("get", "secret", name, "--namespace", NAMESPACE, "--output", "json")
    return {field: base64.b64decode(value) for field, value in json.loads(got.stdout)["data"].items()}
