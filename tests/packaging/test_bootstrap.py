"""scripts/bootstrap.py makes real environments, here of a small project with a package index in a folder."""

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "small"
version = "1.0"

[tool.hatch.build]
dev-mode-dirs = ["."]

[tool.hatch.build.targets.wheel]
packages = ["small"]
"""
BACKEND = ("hatchling", "packaging", "pathspec", "pluggy", "trove-classifiers")


def lock_entries(root: Path, *names: str) -> str:
    """Return entries of the real lock."""
    entries = (root / "requirements" / "dev.lock").read_text().replace("\n    ", "\0").splitlines()
    return "\n".join(entry.replace("\0", "\n    ") for entry in entries if entry.split("==")[0] in names) + "\n"


def torch_entry(version: str) -> str:
    return f"torch=={version} \\\n    --hash=sha256:{'0' * 64}\n"


def publish(index: Path, version: str) -> None:
    """Put a wheel named torch into a package index: as small as can be, of the form that a CPU build has."""
    folder = index / "torch"
    folder.mkdir(parents=True, exist_ok=True)
    info = f"torch-{version}.dist-info"
    files = {
        "torch.py": f"__version__ = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},"
        for name, text in files.items()
    ]
    name = f"torch-{version}-py3-none-any.whl"
    with zipfile.ZipFile(folder / name, "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
        wheel.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]) + "\n")
    links = [f'<a href="{path.name.replace("+", "%2B")}">{path.name}</a>' for path in folder.glob("*.whl")]
    (folder / "index.html").write_text("\n".join(links))


class Project:
    """A checkout with the real bootstrap and locks of few packages."""

    def __init__(self, root: Path, home: Path) -> None:
        self.home = home
        self.venv = home / ".venv"
        self.index = home / "index"
        shutil.copytree(root / "scripts", home / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        (home / "requirements").mkdir()
        shutil.copy(root / "requirements" / "pip.lock", home / "requirements")
        (home / "pyproject.toml").write_text(PYPROJECT)
        (home / "small").mkdir()
        (home / "small" / "__init__.py").write_text("SIZE = 1\n")
        publish(self.index, "2.0+cpu")
        self.write_lock("run", lock_entries(root, *BACKEND) + torch_entry("2.0"))
        self.write_lock("dev", lock_entries(root, *BACKEND, "iniconfig") + torch_entry("2.0"))

    def publish_source(self) -> str:
        """Put a source archive that has no wheel where pip looks, and return the lock's entry for it."""
        name = "stable_diffusion_cpp_python-1.0"
        source = self.home / "source" / name
        source.mkdir(parents=True)
        (source / "stable_diffusion_cpp.py").write_text("BUILT = True\n")
        (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: stable-diffusion-cpp-python\nVersion: 1.0\n")
        (source / "pyproject.toml").write_text(
            PYPROJECT.replace('"small"', '"stable-diffusion-cpp-python"', 1).replace(
                'packages = ["small"]', 'only-include = ["stable_diffusion_cpp.py"]'
            )
        )
        archive = self.home / "source" / f"{name}.tar.gz"
        with tarfile.open(archive, "w:gz") as file:
            file.add(source, name)
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        return f"stable-diffusion-cpp-python==1.0 \\\n    --hash=sha256:{digest}\n"

    def write_lock(self, target: str, text: str) -> None:
        (self.home / "requirements" / f"{target}.lock").write_text(text)

    def bootstrap(self, target: str, *, torch_index: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "scripts/bootstrap.py", target],
            cwd=self.home,
            env=os.environ | {"TORCH_INDEX": torch_index} | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def python(self, code: str) -> str:
        command = [str(self.venv / "bin" / "python"), "-c", code]
        return subprocess.check_output(command, cwd="/", text=True, timeout=60).strip()

    def installed(self) -> set[str]:
        names = "import importlib.metadata as m; print(*{d.metadata['Name'].lower() for d in m.distributions()})"
        return set(self.python(names).split())


@pytest.fixture
def project(root: Path, tmp_path: Path) -> Project:
    return Project(root, tmp_path)


@pytest.fixture
def steps(root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(root / "scripts"))
    return import_module("steps")


def test_environment_is_made_completed_and_kept(project: Project) -> None:
    made = project.bootstrap("run", torch_index=f"file://{project.index}")

    assert made.returncode == 0, made.stderr
    assert project.python("import small, torch; print(small.SIZE, torch.__version__)") == "1 2.0+cpu"
    assert "iniconfig" not in project.installed()
    assert "Installing torch 2.0 from TORCH_INDEX" in made.stdout

    again = project.bootstrap("run")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")

    completed = project.bootstrap("dev")
    assert completed.returncode == 0, completed.stderr
    assert "torch" not in completed.stdout, "the build that is there is kept, without naming its index again"
    assert "iniconfig" in project.installed()
    assert str(project.index) not in (project.venv / "heliograph.json").read_text(), (
        "an index's URL may hold a password"
    )


def test_what_has_no_wheel_is_compiled(root: Path, project: Project) -> None:
    project.write_lock("sdcpp", lock_entries(root, *BACKEND) + project.publish_source())
    source = str(project.home / "source")

    refused = project.bootstrap("sdcpp", PATH="/nowhere", PIP_FIND_LINKS=source)
    assert refused.returncode == 1
    assert "stable-diffusion-cpp-python is compiled here and needs a C++ compiler. Install it, then" in refused.stderr

    made = project.bootstrap("sdcpp", PIP_FIND_LINKS=source)
    assert made.returncode == 0, made.stderr
    assert "Compiling stable-diffusion-cpp-python 1.0" in made.stdout
    assert project.python("import stable_diffusion_cpp as it; print(it.BUILT)") == "True"
    assert "torch" not in project.installed()


def test_other_torch_index_replaces_torch(project: Project) -> None:
    assert project.bootstrap("run", torch_index=f"file://{project.index}").returncode == 0
    other = project.home / "other"
    publish(other, "2.0+cpu2")

    replaced = project.bootstrap("run", torch_index=f"file://{other}")

    assert replaced.returncode == 0, replaced.stderr
    assert project.python("import torch; print(torch.__version__)") == "2.0+cpu2"


def test_torch_of_an_index_is_asked_for_again_when_the_lock_moves_on(root: Path, project: Project) -> None:
    assert project.bootstrap("run", torch_index=f"file://{project.index}").returncode == 0
    project.write_lock("run", lock_entries(root, *BACKEND) + torch_entry("2.1"))

    refused = project.bootstrap("run")

    assert refused.returncode == 1
    assert "torch 2.1 is needed now" in refused.stderr
    assert "give TORCH_INDEX again" in refused.stderr

    publish(project.index, "2.1+cpu")
    moved = project.bootstrap("run", torch_index=f"file://{project.index}")
    assert moved.returncode == 0, moved.stderr
    assert project.python("import torch; print(torch.__version__)") == "2.1+cpu"


def test_package_whose_installation_was_cut_off_is_installed_again(project: Project) -> None:
    assert project.bootstrap("run", torch_index=f"file://{project.index}").returncode == 0
    (packages,) = project.venv.glob("lib/python3*/site-packages")
    (info,) = packages.glob("pluggy-*.dist-info")
    (info / "INSTALLER").unlink()
    shutil.rmtree(packages / "pluggy")
    state = project.venv / "heliograph.json"
    state.write_text(json.dumps({key: value for key, value in json.loads(state.read_text()).items() if key != "run"}))

    resumed = project.bootstrap("run")

    assert resumed.returncode == 0, resumed.stderr
    assert project.python("import pluggy; print(pluggy.__name__)") == "pluggy"


def test_environment_that_was_moved_is_made_anew(root: Path, project: Project, tmp_path: Path) -> None:
    assert project.bootstrap("run", torch_index=f"file://{project.index}").returncode == 0
    moved = Project(root, tmp_path / "moved")
    shutil.move(project.venv, moved.venv)

    assert moved.bootstrap("run", torch_index=f"file://{moved.index}").returncode == 0

    assert moved.python("import small; print(small.__file__)") == str(moved.home / "small" / "__init__.py")


def test_wrong_hash_stops_the_work_and_is_shown(root: Path, project: Project) -> None:
    project.write_lock("run", lock_entries(root, *BACKEND).replace("--hash=sha256:", "--hash=sha256:" + "0" * 8) + "\n")

    refused = project.bootstrap("run")

    assert refused.returncode == 1
    assert "Installing the packages of requirements/run.lock: failed" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_size_of_torch_and_the_way_round_it_are_said_before_its_download(root: Path, project: Project) -> None:
    project.write_lock("run", lock_entries(root, *BACKEND) + torch_entry("0.0"))

    refused = project.bootstrap("run")

    before, download, _ = refused.stdout.partition("Installing torch 0.0 (1 of 1) ...")
    assert download
    assert "torch 0.0 comes with its CUDA libraries: about 3.0 GB to download" in before
    assert "TORCH_INDEX=<index URL>" in before
    assert "No matching distribution found for torch==0.0" in refused.stderr


def test_failed_step_shows_the_end_of_its_output(steps: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", "print('much'); print('the reason'); raise SystemExit(3)"]

    with pytest.raises(steps.StepError, match="Counting: failed\nmuch\nthe reason"):
        steps.run(command, reporter=steps.Reporter(), doing="Counting")

    assert capfd.readouterr().out == "Counting ...\n", "what the step printed stays with us"


def test_long_step_gives_a_sign_of_life(
    steps: ModuleType, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "HEARTBEAT_SECONDS", 0.1)
    code = "import time; print('Progress 2000000 of 5000000', flush=True); time.sleep(2)"

    steps.run([sys.executable, "-c", code], reporter=steps.Reporter(), doing="Fetching")

    assert "2 of 5 MB" in capfd.readouterr().out


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_interrupt_ends_what_runs_and_says_how_to_go_on(project: Project, sent: signal.Signals) -> None:
    # The tests themselves may run where SIGHUP is ignored.
    heard = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); os.execv(sys.executable, sys.argv[1:])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", heard, sys.executable, "scripts/bootstrap.py", "run"],
        cwd=project.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert "Making .venv" in process.stdout.readline()
        process.send_signal(sent)
        _, errors = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "The same command goes on from here" in errors
    assert project.bootstrap("run", torch_index=f"file://{project.index}").returncode == 0
