"""`heliograph keys`: the document as it is written, and the keys as a gateway takes them."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import yaml
from click.testing import CliRunner

from cli.serving import ROOT, Serving
from cluster.waiting import eventually
from heliograph.main import main

Cli = Callable[..., subprocess.CompletedProcess[str]]


def run(*arguments: str | Path) -> str:
    """Return what a command that succeeds prints."""
    result = CliRunner().invoke(main, ["keys", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str | Path) -> str:
    """Return what a command that fails says."""
    result = CliRunner().invoke(main, ["keys", *map(str, arguments)])
    assert result.exit_code != 0
    assert result.stdout == ""
    return result.stderr


def entries(path: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = yaml.safe_load(path.read_text())["keys"]
    return found


def test_a_key_is_printed_once_and_its_digest_is_kept(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    result = cli("keys", "create", "team-a", "--file", path)
    assert result.returncode == 0
    key = result.stdout.strip()
    assert key.startswith("hg-")
    assert len(key) > 40
    assert "Added the key 'team-a'" in result.stderr
    assert key not in result.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    assert key not in path.read_text()
    assert entries(path) == [
        {"name": "team-a", "sha256": hashlib.sha256(key.encode()).hexdigest(), "scopes": ["models"]}
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["keys.yaml"], "nothing is left beside it"


def test_every_limit_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    limits = ("--requests-per-minute", "60", "--images-per-day", "500", "--models", "team-a/*, sdxl")
    key = run("create", "a", "--file", path, "--scopes", "models,admin", *limits, "--expires", "2099-01-01").strip()
    assert entries(path) == [
        {
            "name": "a",
            "sha256": hashlib.sha256(key.encode()).hexdigest(),
            "scopes": ["models", "admin"],
            "requestsPerMinute": 60,
            "imagesPerDay": 500,
            "models": ["team-a/*", "sdxl"],
            "expires": "2099-01-01",
        }
    ]
    header, row = run("list", "--file", path).splitlines()
    assert header.split() == ["NAME", "STATE", "SCOPES", "PER", "MINUTE", "PER", "DAY", "MODELS", "EXPIRES", "SHA256"]
    assert row.split()[:5] == ["a", "active", "models,admin", "60", "500"]


WRITTEN = """\
# Keys of the studio.
keys:
  # The painters.
  - name: painters
    sha256: {0}   # renewed in spring

  - {{name: flow, sha256: {1}}}
# The end.
"""
DIGESTS = [hashlib.sha256(text).hexdigest() for text in (b"1", b"2")]


def test_what_is_in_the_document_stays_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(WRITTEN.format(*DIGESTS))
    path.chmod(0o640)
    run("create", "new", "--file", path)
    text = path.read_text()
    assert text.startswith(WRITTEN.format(*DIGESTS).removesuffix("# The end.\n"))
    assert text.endswith("# The end.\n")
    assert [entry["name"] for entry in entries(path)] == ["painters", "flow", "new"]
    assert path.stat().st_mode & 0o777 == 0o640, "who could read it before still can"
    run("disable", "flow", "--file", path)
    assert "# renewed in spring" in path.read_text()
    assert entries(path)[1] == {"name": "flow", "sha256": DIGESTS[1], "disabled": True}
    run("delete", "painters", "--file", path)
    assert [entry["name"] for entry in entries(path)] == ["flow", "new"]
    run("delete", "new", "--file", path)
    run("delete", "flow", "--file", path)
    assert path.read_text() == "# Keys of the studio.\nkeys: []\n  # The painters.\n\n# The end.\n"
    run("create", "again", "--file", path)
    assert [entry["name"] for entry in entries(path)] == ["again"]


@pytest.mark.parametrize(
    "text",
    [
        "keys: []",
        "keys:   []  # none yet\n",
        "keys: [{{name: a, sha256: {0}}}]",
        '{{"keys": [{{"name": "a", "sha256": "{0}"}}]}}',
        "keys:\n- name: a\n  sha256: {0}",
        "keys:\n- &x\n  name: a\n  sha256: {0}\n- <<: *x\n  sha256: {1}\n",
        "---\nkeys:\n    -   name: a\n        sha256: >-\n            {0}\n...\n",
    ],
)
def test_any_way_of_writing_is_added_to_and_taken_from(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(text.format(*DIGESTS))
    before = entries(path)
    run("create", "new", "--file", path)
    assert entries(path)[:-1] == before
    assert entries(path)[-1]["name"] == "new"
    run("disable", "new", "--file", path)
    assert entries(path)[-1]["disabled"] is True
    run("delete", "new", "--file", path)
    assert entries(path) == before
    if text.startswith("{{"):
        json.loads(path.read_text())


def test_one_of_two_keys_of_a_name_can_be_withdrawn(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    old, new = (run("create", "a", "--file", path).strip() for _ in range(2))
    digest = hashlib.sha256(old.encode()).hexdigest()
    assert digest[:12] in run("list", "--file", path)
    run("delete", "a", "--file", path, "--sha256", digest[:12].upper())
    assert [entry["sha256"] for entry in entries(path)] == [hashlib.sha256(new.encode()).hexdigest()]
    run("disable", "a", "--file", path)
    assert "disabled" in run("list", "--file", path)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("create", "no way"), "NAME: must be 1 to 63 letters"),
        (("create", "a", "--scopes", "root"), "--scopes: must be models, admin, or models,admin"),
        (("create", "a", "--scopes", ","), "--scopes: must be models, admin, or models,admin"),
        (("create", "a", "--images-per-day", "0"), "'--images-per-day': 0 is not in the range x>=1"),
        (("create", "a", "--expires", "tomorrow"), "--expires: must be a day, 2026-12-31"),
        (("delete", "nobody"), "has no key of this name; `heliograph keys list` shows what there is"),
        (("disable", "painters", "--sha256", "00"), "has no key whose SHA-256 begins with 00"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    tmp_path: Path, arguments: tuple[str, ...], problem: str
) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(WRITTEN.format(*DIGESTS))
    assert problem in refused(*arguments, "--file", path)
    assert path.read_text() == WRITTEN.format(*DIGESTS)


def test_a_document_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text("keys:\n  - name: canary\n")
    for arguments in (("create", "a"), ("list",), ("delete", "canary"), ("disable", "canary")):
        message = refused(*arguments, "--file", path)
        assert f"--file: {path}: keys[0] (canary).sha256: field required; nothing was changed" in message
    assert path.read_text() == "keys:\n  - name: canary\n"
    assert "No such file or directory" in refused("create", "a", "--file", tmp_path / "nowhere" / "keys.yaml")


def test_several_at_once_lose_no_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    program = [sys.executable, "-m", "heliograph", "keys", "create"]

    def create(number: int) -> None:
        subprocess.run([*program, f"key-{number}", "--file", path], check=True, capture_output=True, timeout=120)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(create, range(8)))
    assert {entry["name"] for entry in entries(path)} == {f"key-{number}" for number in range(8)}


def test_serve_asks_for_the_keys_of_the_document(start_serve: Callable[..., Serving], cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    key = run("create", "a", "--file", path).strip()
    serving = start_serve(ROOT / "examples" / "tiny.yaml", "--port", "0", "--host", "0.0.0.0", "--keys-file", path)
    serving.wait_ready()
    url = serving.url.replace("0.0.0.0", "127.0.0.1")

    def status(key: str) -> int:
        headers = {"authorization": f"Bearer {key}"}
        return httpx.get(f"{url}/v1/models", headers=headers, trust_env=False).status_code

    assert (status(key), status("wrong")) == (200, 401)
    second = run("create", "b", "--file", path).strip()
    eventually(lambda: status(second) == 200, what="second key", timeout=5.0)
    run("delete", "a", "--file", path)
    eventually(lambda: status(key) == 401, what="end of the first key", timeout=5.0)
    path.write_text("keys: 7")
    failed = cli("serve", ROOT / "examples" / "tiny.yaml", "--port", "0", "--keys-file", path)
    assert failed.returncode == 1
    assert f"keys_file: {path}: keys: must be a list" in failed.stderr
