"""A base for images where no image registry can be reached: made of Debian's packages; the standard library alone."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap import install_debian_package
from environment import fingerprint
from image_recipes import build_key
from steps import StepError

if TYPE_CHECKING:
    from docker_engine import Docker
    from steps import Reporter

NAME = "debootstrap"
"""What --base calls it."""

_CONTAINERFILE = "debian.Containerfile"
_PACKAGES = ("python3", "python3-venv", "ca-certificates", "media-types", "netbase", "tzdata")
_DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
)
_SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d/debian.sources")
_EPOCH = "1580601600"


def build_tag() -> str:
    """Return the name and tag of what the base is a part of, in which packages can be installed.

    It is the same for as long as it is made in the same way.
    """
    return f"heliograph-debian-build:{fingerprint(_suite(), *_PACKAGES, *_DPKG_OPTIONS)[:12]}"


def tag(root: Path) -> str:
    """Return the name and tag of the base, likewise."""
    return f"heliograph-debian:{build_key(root, _CONTAINERFILE, {'of': build_tag()})[:12]}"


def can_be_made() -> bool:
    """Whether this machine is one that the base can be made on: Debian, and root's."""
    return sys.platform == "linux" and os.geteuid() == 0 and bool(_suite())


def make(docker: Docker, root: Path, *, anew: bool, reporter: Reporter) -> None:
    """Make the base, unless it is there.

    Raises:
        StepError: This is no Debian, or a step failed.
    """
    if not docker.image_id(build_tag()) or anew:
        if not can_be_made():
            raise StepError(
                f"--base {NAME}: needs root on Debian; name an image in its place, such as python:3.11-slim"
            )
        if shutil.which("mmdebstrap") is None:
            install_debian_package("mmdebstrap", missing="The base is made with mmdebstrap", reporter=reporter)
        _bootstrap(docker, build_tag(), reporter)
    elif docker.image_id(tag(root)):
        return
    command = ("build", "--file", str(root / "images" / _CONTAINERFILE), "--build-arg", f"BOOTSTRAP={build_tag()}")
    doing = "Leaving out of the base what no image needs"
    docker.tell(*command, "--network", "none", "--tag", tag(root), str(root / "images"), reporter=reporter, doing=doing)


def _bootstrap(docker: Docker, name: str, reporter: Reporter) -> None:
    """Unpack Debian's packages, security updates among them, into an image of one layer."""
    command = [
        "mmdebstrap",
        *("--variant=apt", "--quiet", f"--include={','.join(_PACKAGES)}"),
        *(f"--dpkgopt={option}" for option in _DPKG_OPTIONS),
        *(_suite(), "-", *(source for source in _SOURCES if Path(source).is_file())),
    ]
    doing = f"Making a base of Debian's packages ({_suite()})"
    reporter.start(doing)
    try:
        _import_output(docker, command, name)
    except StepError as error:
        raise StepError(f"{doing}: failed\n{error}") from None


def _import_output(docker: Docker, command: list[str], name: str) -> None:
    """Make an image of the archive that a program writes.

    Raises:
        StepError: The program or docker failed, or one and then the other; the message has what each said.
    """
    # What the program says goes to a file: nobody reads a pipe until docker has ended, and a full one would stop it.
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        environment = {**os.environ, "SOURCE_DATE_EPOCH": _EPOCH}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=said, env=environment, start_new_session=True
        ) as program:
            try:
                imported = subprocess.run(
                    [docker.client, "import", "-"],
                    env=dict(docker.environment),
                    stdin=program.stdout,
                    capture_output=True,
                    text=True,
                    check=False,
                )
            except KeyboardInterrupt:
                os.killpg(program.pid, signal.SIGTERM)  # its parts look out for it each; they remove what they unpacked
                program.wait()
                raise
        # The end of the block has closed the pipe before it waited, or what docker left in it would stop the program.
        said.seek(0)
        ended = (("docker import", imported.returncode, imported.stderr), (command[0], program.returncode, said.read()))
    failed = [f"{what}: {text[-3000:].strip()}" for what, status, text in ended if status]
    if not failed:  # the name comes last, since docker takes the part of an archive that a failure leaves, too
        tagged = docker.ask("tag", imported.stdout.strip(), name)
        failed = [f"docker tag: {tagged.stderr.strip()}"] if tagged.returncode else []
    if failed:
        raise StepError("\n".join(failed))


def _suite() -> str:
    """Return the name of this machine's release of Debian; nothing on another system."""
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return ""
    fields = dict(re.findall(r'^(\w+)="?([^"\n]*)', text, re.MULTILINE))
    return fields.get("VERSION_CODENAME", "") if fields.get("ID") == "debian" else ""
