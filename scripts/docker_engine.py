"""A docker that builds with BuildKit: the one that answers, or a daemon of our own; the standard library alone."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap import install_debian_package
from steps import StepError, alone, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from steps import Reporter

_START_SECONDS = 60.0
_END_SECONDS = 60.0
_FIRST_WITHOUT_BUILDKIT = 23
"""Since this version the client leaves BuildKit to its plug-in buildx."""
_STEP = re.compile(r"#\d+ (\[[^]]*\d+/\d+\][^\n]*|exporting [^\n]*)$")


@dataclass(frozen=True)
class Docker:
    """A client and the daemon that it talks to.

    Attributes:
        client: The program.
        environment: Environment that it is run with.
        own: Whether the daemon is ours, and ends with us.
    """

    client: str
    environment: Mapping[str, str] = field(repr=False)
    own: bool = False

    def ask(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a short command and return how it ended, 124 when it did not."""
        command = [self.client, *arguments]
        try:
            return subprocess.run(
                command, env=dict(self.environment), capture_output=True, text=True, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired:
            message = f"no answer in {timeout:.0f} s"
            return subprocess.CompletedProcess(command, returncode=124, stdout="", stderr=message)

    def tell(self, *arguments: str, reporter: Reporter, doing: str) -> None:
        """Run a command that takes a while.

        Raises:
            StepError: It failed.
        """
        run([self.client, *arguments], reporter=reporter, doing=doing, environment=self.environment, detail_of=_step)

    def image_id(self, name: str) -> str:
        """Return the identity of the image that a name stands for; empty when the daemon has none."""
        return self.ask("image", "inspect", "--format", "{{.Id}}", name).stdout.strip()


def _step(line: str) -> str | None:
    """Return what BuildKit is at, by a line of its plain progress; None when the line does not say it."""
    match = _STEP.match(line)
    return match and " ".join(word for word in match[1].split() if not word.startswith("--mount="))[:100]


@contextlib.contextmanager
def docker(environment: Mapping[str, str], *, cache: Path, reporter: Reporter) -> Iterator[Docker]:
    """Find a docker that builds, for as long as the context is open, in which no other build of ours is.

    It is the daemon that answers, else one of our own. Where Debian's docker.io is installed for that, systemd starts
    the package's daemon, with its bridge and its rules of the firewall: then that one answers, and ours is not needed.

    Args:
        environment: Environment variables, DOCKER_HOST and DOCKER_CONTEXT among them.
        cache: The project's cache folder; a daemon of our own keeps its images there.
        reporter: What to tell the user with.

    Raises:
        StepError: There is none, and we may not start one.
    """
    environment = {**environment, "DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"}
    client = find_client(environment)
    found = _answering(client, environment)
    if found is None and _install_daemon(client, reporter):
        client = find_client(environment)
        found = _answering(client, environment)
    if client is None:
        raise StepError("docker: no client on PATH builds with BuildKit; install docker-buildx beside it")
    folder = cache / "images"
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder / "lock", reporter, waiting_for="another build of images to end"):
        if found is not None:
            yield found
            return
        with _own_daemon(folder, reporter) as address:
            yield Docker(client, {**environment, "DOCKER_HOST": address}, own=True)


def _answering(client: str | None, environment: Mapping[str, str]) -> Docker | None:
    """Return the docker whose daemon answers a client.

    Raises:
        StepError: None does, and the user has said where it is.
    """
    if client is None:
        return None
    found = Docker(client, environment)
    answer = found.ask("version", "--format", "{{.Server.Version}}", timeout=20)
    if answer.returncode == 0:
        return found
    if environment.get("DOCKER_HOST"):
        raise StepError(f"DOCKER_HOST: no daemon answers there; correct it or unset it\n{answer.stderr.strip()}")
    return None


def find_client(environment: Mapping[str, str]) -> str | None:
    """Return the first docker on PATH that builds with BuildKit: an older one by itself, a newer one with buildx."""
    for folder in environment.get("PATH", "").split(os.pathsep):
        client = shutil.which("docker", path=folder) if folder else None
        if client and _builds(client, environment):
            return client
    return None


def _builds(client: str, environment: Mapping[str, str]) -> bool:
    probe = Docker(client, environment)
    if probe.ask("buildx", "version").returncode == 0:
        return True
    match = re.search(r"version (\d+)\.", probe.ask("--version").stdout)
    return match is not None and int(match[1]) < _FIRST_WITHOUT_BUILDKIT


def _install_daemon(client: str | None, reporter: Reporter) -> bool:
    """See to it that there is a daemon that we can run; return whether it was installed now.

    Raises:
        StepError: We can't; the message says what else would do.
    """
    problem = "No docker daemon answers" if client else "There is no docker that builds with BuildKit"
    if sys.platform != "linux" or os.geteuid() != 0:
        raise StepError(
            f"{problem}. Start one, or let DOCKER_HOST name one; as root on Linux this command runs one of its own"
        )
    if client is not None and shutil.which("dockerd") is not None:
        return False
    # Since Debian 13, docker.io is the daemon alone.
    missing = f"{problem}, and there is no dockerd to run"
    install_debian_package("docker.io", "docker-cli", "docker-buildx", missing=missing, reporter=reporter)
    return True


@contextlib.contextmanager
def _own_daemon(folder: Path, reporter: Reporter) -> Iterator[str]:
    """Run a daemon with all that is its own in `folder`; without a bridge and without a change of the firewall.

    Raises:
        StepError: It did not start.
    """
    socket, log, pid = folder / "docker.sock", folder / "dockerd.log", folder / "dockerd.pid"
    command = [
        "dockerd",
        *("--host", f"unix://{socket}", "--data-root", str(folder / "docker"), "--exec-root", str(folder / "run")),
        *("--pidfile", str(pid), "--bridge", "none", "--iptables=false", "--ip6tables=false"),
        *("--storage-driver", "overlay2", "--group", "root"),
    ]
    _end_orphan(pid)
    reporter.say(f"No docker daemon answers: running one for this build, with its images in {folder / 'docker'}")
    with log.open("w") as output:
        daemon = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _await_socket(socket, daemon, log)
        yield f"unix://{socket}"
    finally:
        daemon.terminate()
        try:
            daemon.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def _end_orphan(pid_file: Path) -> None:
    """End the daemon of a run that was killed before it could."""
    try:
        process = Path("/proc") / str(int(pid_file.read_text()))
        if str(pid_file).encode() not in (process / "cmdline").read_bytes().split(b"\0"):
            return
        os.kill(int(process.name), signal.SIGTERM)
    except (OSError, ValueError):
        return
    deadline = time.monotonic() + _END_SECONDS
    while process.exists() and time.monotonic() < deadline:
        time.sleep(0.1)


def _await_socket(socket: Path, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and daemon.poll() is None:
        if socket.exists() and "API listen on" in log.read_text(errors="replace"):
            return
        time.sleep(0.1)
    lines = log.read_text(errors="replace").splitlines()[-15:]
    raise StepError("dockerd did not start; its last words:\n" + "\n".join(lines))
