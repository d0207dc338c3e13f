"""scripts/pip_settings.py: what of the user's own pip the builds of images are told."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def pip_settings(scripts: Path) -> ModuleType:
    return import_module("pip_settings")


def test_pips_settings_come_from_its_files_and_its_variables(tmp_path: Path, pip_settings: ModuleType) -> None:
    (tmp_path / "named.conf").write_text("[global]\nindex-url = https://a.test/simple\ntimeout = 7\n")
    environment = {
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": str(tmp_path / "named.conf"),
        "PIP_EXTRA_INDEX_URL": "https://user:secret@b.test/simple",
        "PIP_FIND_LINKS": "/opt/wheels https://c.test/wheels",
        "PIP_NO_CACHE_DIR": "1",
    }

    settings = pip_settings.pip_settings(environment)
    text = pip_settings.pip_conf(settings, has_certificates=True)
    target = tmp_path / "made.conf"
    target.write_text(text)
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        env={"PIP_CONFIG_FILE": str(target), "HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()

    assert {line for line in told if line.startswith("global.")} >= {
        "global.index-url='https://a.test/simple'",
        "global.extra-index-url='https://user:secret@b.test/simple'",
        "global.find-links='https://c.test/wheels'",
        "global.timeout='7'",
        "global.cert='/media/ca.crt'",
    }
    assert "/opt/wheels" not in text
    assert "no-cache-dir" not in text


def test_pip_without_files_is_pip_without_files(tmp_path: Path, pip_settings: ModuleType) -> None:
    (tmp_path / ".config" / "pip").mkdir(parents=True)
    (tmp_path / ".config" / "pip" / "pip.conf").write_text("[install]\nproxy = http://proxy.test:3128\n")

    assert pip_settings.pip_settings({"HOME": str(tmp_path)})["proxy"] == "http://proxy.test:3128"
    assert "proxy" not in pip_settings.pip_settings({"HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull})


@pytest.mark.parametrize("named", ["named.conf", "gone.conf", None])
def test_a_file_that_is_named_stands_in_place_of_the_users_own(
    tmp_path: Path, pip_settings: ModuleType, named: str | None
) -> None:
    own = tmp_path / ".config" / "pip" / "pip.conf"
    own.parent.mkdir(parents=True)
    own.write_text("[global]\nextra-index-url = https://user:secret@own.test/simple\n")
    (tmp_path / "named.conf").write_text("[global]\ntimeout = 7\n")
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    environment |= {"PIP_CONFIG_FILE": str(tmp_path / named)} if named else {}

    command = [sys.executable, "-m", "pip", "config", "get", "global.extra-index-url"]
    pips = subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout.strip()
    assert pip_settings.pip_settings(environment).get("extra-index-url", "") == pips


def test_certificates_are_those_that_pip_trusts(tmp_path: Path, pip_settings: ModuleType) -> None:
    own, general = tmp_path / "own.crt", tmp_path / "general.crt"
    for path in (own, general):
        path.write_text("certificates")

    environment = {"SSL_CERT_FILE": str(general)}
    assert pip_settings.certificates({"cert": str(own)}, environment) == own
    assert pip_settings.certificates({}, environment) == general
    assert pip_settings.certificates({"cert": str(tmp_path / "gone.crt")}, {}) is None
