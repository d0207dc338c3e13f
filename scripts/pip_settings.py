"""This user's configuration of pip, as a build in a container can use it; the standard library alone.

It may hold passwords, so it is given to a build as a secret, which no layer and no history of an image keeps.
"""

from __future__ import annotations

import configparser
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

CERTIFICATES_IN_BUILD = "/media/ca.crt"
"""Where the Containerfiles mount the certificates that pip is to trust."""

_SECTIONS = ("global", "install", "download")
_CARRIED = (
    "index-url", "extra-index-url", "no-index", "find-links", "proxy", "trusted-host", "timeout", "default-timeout",
    "retries",
)  # fmt: skip
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def pip_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return pip's options from its files and variables, the latter before the former.

    Source: pip.pypa.io/en/stable/topics/configuration, of which the files for a virtual environment are left out.
    """
    home = Path(environment.get("HOME") or Path.home())
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    files = [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf")]
    own = [home / ".pip/pip.conf", config / "pip/pip.conf"]
    named = environment.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        files = []
    elif named and Path(named).exists():  # in place of the user's own
        files.append(Path(named))
    else:
        files += own
    parser = configparser.RawConfigParser()
    parser.read(files, encoding="utf-8")
    found = {key: value for section in _SECTIONS if parser.has_section(section) for key, value in parser.items(section)}
    found |= {
        name.removeprefix("PIP_").replace("_", "-").lower(): value
        for name, value in environment.items()
        if name.startswith("PIP_") and value
    }
    return found


def certificates(settings: Mapping[str, str], environment: Mapping[str, str]) -> Path | None:
    """Return the file of certificates that pip trusts here in place of its own."""
    names = [settings.get("cert"), *(environment.get(name) for name in _BUNDLES)]
    return next((Path(name) for name in names if name and Path(name).is_file()), None)


def pip_conf(settings: Mapping[str, str], *, has_certificates: bool) -> str:
    """Return the text of a pip.conf for a build; folders of this machine are left out of it."""
    lines = ["[global]"]
    for key in _CARRIED:
        value = " ".join(word for word in settings.get(key, "").split() if key != "find-links" or "://" in word)
        if value:
            lines.append(f"{key} = {value}")
    if has_certificates:
        lines.append(f"cert = {CERTIFICATES_IN_BUILD}")
    return "\n".join(lines) + "\n"
