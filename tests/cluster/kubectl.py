"""Runs kubectl."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class KubectlError(RuntimeError):
    """kubectl ended with a code other than 0; the message holds what it wrote to stderr."""


def run_kubectl(
    program: Path,
    arguments: Sequence[str | Path],
    *,
    kubeconfig: Path,
    environment: Mapping[str, str],
    input_text: str | None = None,
    check: bool = True,
    timeout: float = 60.0,
) -> subprocess.CompletedProcess[str]:
    """Run kubectl and return its exit code and output.

    Args:
        program: kubectl.
        arguments: What follows its name.
        kubeconfig: Whose credentials and namespace it uses.
        environment: Environment variables; nothing of this process's own is handed on.
        input_text: What it reads from stdin, for `-f -`.
        check: Whether an exit code other than 0 is an error.
        timeout: Seconds.

    Raises:
        KubectlError: On an exit code other than 0 with `check`.
    """
    result = subprocess.run(
        [program, *arguments],
        input=input_text,
        stdin=None if input_text is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**environment, "KUBECONFIG": str(kubeconfig), "KUBERC": "off"},
    )
    if check and result.returncode:
        command = " ".join(map(str, arguments))
        raise KubectlError(f"kubectl {command} ended with code {result.returncode}:\n{result.stderr}")
    return result
