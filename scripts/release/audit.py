"""Looks the packages of all locks up among known vulnerabilities: `python -m release.audit`.

pip-audit asks OSV for Python's packages, npm its registry for Node's. Exit status 1 says that something is known of
them, 2 that a service could not be asked, after which nothing is known of what it was to be asked for.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environment import read_lock
from steps import StepError

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
OSV = "https://api.osv.dev/v1/query"


def pins(folder: Path) -> dict[str, list[str]]:
    """Return each `name==version` of the locks in a folder, whatever its platform, with the locks that have it."""
    found: dict[str, list[str]] = {}
    for lock in sorted(folder.glob("*.lock")):
        for requirement in read_lock(lock):
            found.setdefault(f"{requirement.name}=={requirement.version}", []).append(lock.name)
    return found


def tool(name: str) -> str:
    """Return the path of a program of the environment that this runs in."""
    return str(Path(sys.executable).with_name(name))


def ask(command: Sequence[str], *, folder: Path, whom: str, key: str) -> dict[str, Any]:
    """Return what an auditing program prints as JSON.

    Args:
        command: The program; its exit status tells findings from none and not from failures, so it is not looked at.
        folder: Where to run it.
        whom: The service that it asks, for the error.
        key: What an answer has and a failure has not.

    Raises:
        StepError: It printed no answer.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = {}
    if key not in answer:
        reason = answer.get("message") or (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise StepError(
            f"{whom} could not be asked: {reason}\n"
            "Nothing is known of these packages now: run this again where the service can be reached"
        )
    return dict(answer)


def audit_python(folder: Path, osv: str) -> list[str]:
    """Return a line for each known vulnerability of the locks' packages.

    Args:
        folder: The folder of the locks.
        osv: The URL to ask.

    Raises:
        StepError: It could not be asked, of one package or of all.
    """
    locks = pins(folder)
    program = [tool("pip-audit"), "--disable-pip", "--no-deps", "--progress-spinner", "off"]
    with tempfile.TemporaryDirectory(prefix="heliograph-audit-") as home:
        requirements = Path(home) / "requirements.txt"
        requirements.write_text("".join(f"{pin}\n" for pin in locks))
        service = ["--vulnerability-service", "osv", "--osv-url", osv, "--format", "json"]
        command = [*program, *service, "--requirement", str(requirements)]
        answer = ask(command, folder=folder, whom=f"OSV ({osv})", key="dependencies")
    told = {f"{package['name']}=={package['version']}": package["vulns"] for package in answer["dependencies"]}
    if missing := sorted(locks.keys() - told.keys()):
        raise StepError(f"pip-audit says nothing of {', '.join(missing)}: they are not audited")
    return [
        f"{pin} ({', '.join(locks[pin])}): {' '.join([found['id'], *found['aliases']])}, "
        f"mended in {', '.join(found['fix_versions']) or 'no version yet'}"
        for pin, vulnerabilities in told.items()
        for found in vulnerabilities
    ]


def audit_node(folder: Path) -> list[str]:
    """Return a line for each vulnerable package of npm's lock in a folder.

    Raises:
        StepError: npm's registry could not be asked.
    """
    command = [tool("npm"), "audit", "--package-lock-only", "--json"]
    answer = ask(command, folder=folder, whom="npm's registry", key="vulnerabilities")
    return [
        f"{name} {advisory['range']} (node/package-lock.json): {advisory['title']}, {advisory['url']}"
        for name, found in answer["vulnerabilities"].items()
        for advisory in found["via"]
        if isinstance(advisory, dict)  # else the name of a package that it comes by, which has a line of its own
    ]


def main() -> int:
    """Audit all locks and print what is known; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m release.audit", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--osv-url", default=OSV, help="what to ask of Python's packages; %(default)s when not given")
    folder = ROOT / "requirements"
    osv = parser.parse_args().osv_url
    found: list[str] = []
    failures: list[str] = []
    audits = (partial(audit_python, folder, osv), partial(audit_node, folder / "node"))
    for audit in audits:
        try:
            found += audit()
        except StepError as error:
            failures.append(f"error: {error}")
    for line in found:
        print(line)
    for failure in failures:
        print(failure, file=sys.stderr)
    if not found and not failures:
        print(f"Nothing is known against the {len(pins(folder))} versions of Python's packages, nor against Node's")
    return 2 if failures else int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
