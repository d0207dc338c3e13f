"""`make audit` with the real pip-audit and npm, which ask servers of the test in place of those on the internet."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cluster.http_server import running

PYTHON_PATH, NODE_PATH = "/v1/query", "/-/npm/v1/security/advisories/bulk"
OF_PYTHON = {
    "id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "summary": "A fault", "modified": "2026-01-01T00:00:00Z",
    "affected": [{"package": {"ecosystem": "PyPI", "name": "click"},
                  "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "999.0"}]}]}],
}  # fmt: skip
OF_NODE = {
    "id": 1, "url": "https://example.org/GHSA-1", "title": "A fault", "severity": "high",
    "vulnerable_versions": "<999.0.0", "cwe": [], "cvss": {"score": 5.0, "vectorString": None},
}  # fmt: skip


class Services(ThreadingHTTPServer):
    """OSV and npm's registry, as far as audits ask them.

    Attributes:
        known: What there is against packages, by their name.
        status: The status that every answer has.
        asked: The versions of Python's packages that OSV was asked for.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.known: dict[str, dict[str, Any]] = {}
        self.status = 200
        self.asked: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Services

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        answer: dict[str, Any] = {}
        if self.path == PYTHON_PATH:
            asked = json.loads(content)
            name = asked["package"]["name"]
            self.server.asked.add(f"{name}=={asked['version']}")
            if name in self.server.known:
                answer = {"vulns": [self.server.known[name]]}
        elif self.path == NODE_PATH:
            answer = {name: [found] for name, found in self.server.known.items() if found is OF_NODE}
        body = json.dumps(answer).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def services() -> Iterator[Services]:
    found = Services()
    with running(found):
        yield found


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """The scripts, two locks that share an entry, and the lock of npm."""
    for folder in ("scripts/release", "requirements/node"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("environment.py", "steps.py"):
        shutil.copy(root / "scripts" / name, tmp_path / "scripts" / name)
    pip, click = f"pip==26.3 \\\n    --hash=sha256:{'0' * 64}\n", f"click==8.1.8 \\\n    --hash=sha256:{'0' * 64}\n"
    elsewhere = f"colorama==0.4.6 ; sys_platform == 'win32' \\\n    --hash=sha256:{'0' * 64}\n"
    (tmp_path / "requirements" / "one.lock").write_text(pip + click)
    (tmp_path / "requirements" / "two.lock").write_text(click + elsewhere)
    return tmp_path


def audit(checkout: Path, url: str) -> subprocess.CompletedProcess[str]:
    npm = {"npm_config_registry": url, "npm_config_fetch_retries": "0", "npm_config_cache": str(checkout / "npm")}
    return subprocess.run(
        [sys.executable, "-m", "release.audit", "--osv-url", url + PYTHON_PATH],
        cwd=checkout,
        env=os.environ | npm | {"PYTHONPATH": str(checkout / "scripts")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_version_is_asked_for_and_nothing_is_known(checkout: Path, services: Services) -> None:
    done = audit(checkout, services.url)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Nothing is known against the 3 versions of Python's packages, nor against Node's\n"
    assert services.asked == {"pip==26.3", "click==8.1.8", "colorama==0.4.6"}


def test_a_vulnerable_package_is_told_with_its_locks_and_its_remedy(checkout: Path, services: Services) -> None:
    services.known["click"] = OF_PYTHON

    done = audit(checkout, services.url)

    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == "click==8.1.8 (one.lock, two.lock): PYSEC-2026-1 CVE-2026-1, mended in 999.0\n"


def test_a_vulnerable_package_of_node_is_told(checkout: Path, services: Services) -> None:
    services.known["axe-core"] = OF_NODE

    done = audit(checkout, services.url)

    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == "axe-core <999.0.0 (node/package-lock.json): A fault, https://example.org/GHSA-1\n"


def test_services_out_of_reach_are_no_clean_audit(checkout: Path) -> None:
    with running(Services()) as url:
        pass

    done = audit(checkout, url)

    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: OSV ({url}{PYTHON_PATH}) could not be asked: " in done.stderr
    assert "error: npm's registry could not be asked: " in done.stderr
    assert done.stderr.count("run this again where the service can be reached") == 2
    assert "Traceback" not in done.stderr


def test_services_that_fail_are_no_clean_audit(checkout: Path, services: Services) -> None:
    services.status = 503

    done = audit(checkout, services.url)

    assert (done.returncode, done.stdout) == (2, "")
    assert "503" in done.stderr
    assert "Traceback" not in done.stderr
