"""scripts/build_images.py: what makes it build anew, what a build is told, and what it says when it cannot."""

import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from cluster.go_programs import cache_folder


@pytest.fixture
def checkout(root: Path, tmp_path: Path, recipes: ModuleType) -> Path:
    """A copy of what the control plane's image is built from."""
    target = tmp_path / "checkout"
    for name in ["images/control-plane.Containerfile", *recipes.sources(root, "control-plane.Containerfile")]:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if (root / name).is_dir():
            shutil.copytree(
                root / name, target / name, ignore=shutil.ignore_patterns("training", "*.gguf", "*.safetensors")
            )
        else:
            shutil.copy2(root / name, target / name)
    return target


def build_images(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program where no docker is to be found."""
    command = [sys.executable, str(root / "scripts" / "build_images.py"), *arguments]
    return subprocess.run(
        command,
        env={"HOME": "/nowhere", "PATH": "/nowhere", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "changed",
    [
        "images/control-plane.Containerfile",
        "images/install.py",
        "images/sbom.py",
        "requirements/control-plane.lock",
        "requirements/pip.lock",
        "pyproject.toml",
        "gateway/heliograph_gateway/app.py",
        "examples/tiny.yaml",
    ],
)
def test_key_changes_with_each_source(checkout: Path, recipes: ModuleType, changed: str) -> None:
    before = recipes.build_key(checkout, "control-plane.Containerfile", {})
    with (checkout / changed).open("a") as file:
        file.write("\n")

    assert recipes.build_key(checkout, "control-plane.Containerfile", {}) != before


def test_key_changes_with_a_new_source_and_with_each_argument(checkout: Path, recipes: ModuleType) -> None:
    keys = [recipes.build_key(checkout, "control-plane.Containerfile", {})]
    keys.append(recipes.build_key(checkout, "control-plane.Containerfile", {"base": "a"}))
    keys.append(recipes.build_key(checkout, "control-plane.Containerfile", {"base": "b"}))
    (checkout / "operator" / "heliograph_api" / "new.py").touch()
    keys.append(recipes.build_key(checkout, "control-plane.Containerfile", {}))

    assert len(set(keys)) == len(keys)


def test_key_stays_when_something_else_changes(checkout: Path, recipes: ModuleType) -> None:
    before = recipes.build_key(checkout, "control-plane.Containerfile", {})
    compiled = checkout / "operator" / "heliograph_api" / "__pycache__"
    compiled.mkdir(exist_ok=True)
    (compiled / "other.cpython-311.pyc").write_bytes(b"compiled")
    (checkout / "cli" / "old.pyc").write_bytes(b"compiled")
    training = checkout / "examples" / "tiny-model" / "training"
    training.mkdir(exist_ok=True)
    (training / "notes.txt").write_text("other\n")
    (checkout / "requirements" / "fetcher.lock").write_text("other\n")
    (checkout / "docs").mkdir()
    os.utime(checkout / "pyproject.toml", (0, 0))

    assert recipes.build_key(checkout, "control-plane.Containerfile", {}) == before


def test_key_changes_with_a_source_in_another_folder_that_is_called_training(
    checkout: Path, recipes: ModuleType
) -> None:
    before = recipes.build_key(checkout, "control-plane.Containerfile", {})
    folder = checkout / "runtime" / "training"
    folder.mkdir()
    (folder / "step.py").touch()

    assert recipes.build_key(checkout, "control-plane.Containerfile", {}) != before


def test_what_the_key_leaves_out_is_what_the_daemon_does_not_get(root: Path, recipes: ModuleType) -> None:
    lines = (root / ".dockerignore").read_text().splitlines()
    left_out = {line for line in lines if line and not line.startswith(("#", "!"))} - {"*"}

    assert left_out == {recipes._TRAINING, "**/__pycache__", "**/*.pyc"}


def test_a_source_that_is_missing_is_named(checkout: Path, recipes: ModuleType, scripts: Path) -> None:
    (checkout / "LICENSE").unlink()

    with pytest.raises(import_module("steps").StepError, match="LICENSE: is missing"):
        recipes.build_key(checkout, "control-plane.Containerfile", {})


def test_names_may_lack_their_prefix(recipes: ModuleType) -> None:
    assert [recipe.name for recipe in recipes.choose(["fetcher", "heliograph-runtime-sdcpp-cuda"])] == [
        "heliograph-fetcher",
        "heliograph-runtime-sdcpp-cuda",
    ]


def test_an_unknown_name_is_refused_with_those_that_there_are(root: Path) -> None:
    done = build_images(root, "operator")

    assert done.returncode == 1
    assert done.stderr.startswith("error: NAME: there is no image 'operator'; choose among heliograph-control-plane, ")
    assert "Traceback" not in done.stderr


def test_without_docker_the_remedy_is_told(root: Path) -> None:
    done = build_images(root, "fetcher")

    assert done.returncode == 1
    assert "There is no docker that builds with BuildKit" in done.stderr
    assert ("Install it" if os.geteuid() == 0 else "Start one") in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_the_images(root: Path) -> None:
    done = build_images(root, "--help")

    assert done.returncode == 0
    assert "runtime-diffusers-cuda" in done.stdout


def executable(folder: Path, script: str, *, name: str = "docker") -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_a_client_without_buildkit_is_passed_over(tmp_path: Path, scripts: Path) -> None:
    """Docker 23 and newer builds by a plug-in, which may be missing while an older docker further on needs none."""
    engine = import_module("docker_engine")
    new, old = tmp_path / "new", tmp_path / "old"
    executable(new, '[ "$1" = --version ] && echo "Docker version 28.2.2, build e6534b4" || exit 1')
    executable(old, '[ "$1" = --version ] && echo "Docker version 20.10.24+dfsg1, build 5d6db84" || exit 1')

    assert engine.find_client({"PATH": f"{new}:{old}"}) == str(old / "docker")
    assert engine.find_client({"PATH": str(new)}) is None
    (new / "docker").write_text("#!/bin/sh\nexit 0\n")
    assert engine.find_client({"PATH": f"{new}:{old}"}) == str(new / "docker")


@pytest.fixture
def apt_that_starts_docker(tmp_path: Path, scripts: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose apt-get installs a docker whose daemon answers, as under systemd; the user seems to be root."""
    folder = tmp_path / "bin"
    install = f"[ $1 = install ] || exit 0\nprintf '#!/bin/sh\\n' > {folder}/docker; chmod +x {folder}/docker"
    executable(folder, install, name="apt-get")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(sys, "platform", "linux")
    return folder


def test_a_daemon_that_came_up_as_it_was_installed_is_taken(apt_that_starts_docker: Path, tmp_path: Path) -> None:
    engine = import_module("docker_engine")
    reporter = import_module("steps").Reporter()

    with engine.docker({"PATH": str(apt_that_starts_docker)}, cache=tmp_path / "cache", reporter=reporter) as found:
        assert (found.client, found.own) == (str(apt_that_starts_docker / "docker"), False)
    assert [path.name for path in (tmp_path / "cache" / "images").iterdir()] == ["lock"]


def test_parts_that_some_releases_of_debian_have_apart_come_with_docker(
    apt_that_starts_docker: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    executable(apt_that_starts_docker, "[ $2 = docker-cli ]", name="apt-cache")
    install = (apt_that_starts_docker / "apt-get").read_text().replace("\n", f"\necho $* >> {log}\n", 1)
    (apt_that_starts_docker / "apt-get").write_text(install)
    engine, reporter = import_module("docker_engine"), import_module("steps").Reporter()

    with engine.docker({"PATH": str(apt_that_starts_docker)}, cache=tmp_path / "cache", reporter=reporter):
        pass
    assert log.read_text().splitlines()[-1] == "install -y --no-install-recommends docker.io docker-cli"


def test_an_image_that_somebody_else_built_meanwhile_is_not_kept(tmp_path: Path, scripts: Path) -> None:
    """Another checkout's image would be in the archive under the key of this one's sources."""
    ids = f"echo sha256:$(wc -l < {tmp_path}/log); echo >> {tmp_path}/log"
    executable(tmp_path, f'[ "$1" = save ] && {{ touch "$3"; exit; }}; {ids}')
    (tmp_path / "log").touch()
    program, steps = import_module("build_images"), import_module("steps")
    build = program.Build(program.parse([]), {}, steps.Reporter())
    (recipe,) = import_module("image_recipes").choose(["fetcher"])
    docker = import_module("docker_engine").Docker(str(tmp_path / "docker"), dict(os.environ))

    with pytest.raises(steps.StepError, match="was built anew by somebody else"):
        build._keep(recipe, "key", tmp_path / "images", docker)
    assert [*(tmp_path / "images").iterdir()] == []


def test_a_base_that_docker_does_not_take_is_an_error_and_no_end_of_waiting(scripts: Path, tmp_path: Path) -> None:
    """The archive is larger than a pipe, and so is what mmdebstrap says."""
    executable(tmp_path, "echo no such daemon >&2; exit 1")
    executable(tmp_path, "yes message | head -c 200000 >&2\nhead -c 1000000 /dev/zero", name="mmdebstrap")

    said = bootstrap(scripts, tmp_path)

    assert said.startswith("Making a base of Debian's packages")
    assert "docker import: no such daemon\n" in said


def test_a_base_that_is_not_whole_gets_no_name(scripts: Path, tmp_path: Path) -> None:
    executable(tmp_path, f"echo $* >> {tmp_path}/log; cat > {tmp_path}/archive; echo sha256:1")
    executable(tmp_path, "echo part; echo E: no mirror >&2; exit 25", name="mmdebstrap")

    assert bootstrap(scripts, tmp_path).endswith(": failed\nmmdebstrap: E: no mirror\n")
    assert (tmp_path / "archive").read_text() == "part\n"
    assert (tmp_path / "log").read_text() == "import -\n"

    executable(tmp_path, "yes message | head -c 200000 >&2; echo whole", name="mmdebstrap")
    assert bootstrap(scripts, tmp_path) == "made\n"
    assert (tmp_path / "log").read_text().splitlines()[1:] == ["import -", "tag sha256:1 base:1"]


def bootstrap(scripts: Path, programs: Path) -> str:
    """Make the base with these programs in a process of its own, and return what it says at last."""
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "import debian_base, docker_engine, steps\n"
        "docker = docker_engine.Docker(sys.argv[2], os.environ)\n"
        "try:\n"
        "    debian_base._bootstrap(docker, 'base:1', steps.Reporter())\n"
        "except steps.StepError as error:\n"
        "    print(error, file=sys.stderr)\n"
        "else:\n"
        "    print('made', file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", code, str(scripts), str(programs / "docker")]
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stderr


@pytest.mark.parametrize(
    "variables",
    [
        {"HELIOGRAPH_CACHE": "~/own", "XDG_CACHE_HOME": "/xdg"},
        {"HELIOGRAPH_CACHE": "own"},
        {"HELIOGRAPH_CACHE": "", "XDG_CACHE_HOME": "/xdg"},
        {"XDG_CACHE_HOME": "cache/../linked"},
        {"XDG_CACHE_HOME": ""},
        {},
    ],
)
def test_cache_is_where_the_other_programs_have_it(scripts: Path, variables: dict[str, str]) -> None:
    assert import_module("build_images").cache_folder(variables) == cache_folder(variables)


def test_progress_of_a_build_is_told_without_its_mounts(scripts: Path) -> None:
    step = import_module("docker_engine")._step

    assert step("#9 [stage-2 2/4] RUN --mount=type=tmpfs,target=/media     python3 -B it.py\n") == (
        "[stage-2 2/4] RUN python3 -B it.py"
    )
    assert step("#12 exporting layers\n") == "exporting layers"
    assert step("#9 12.3 Collecting numpy\n") is None


def test_no_password_is_in_a_command_line(scripts: Path, tmp_path: Path) -> None:
    program = import_module("build_images")
    environment = {
        "HOME": str(tmp_path),
        "PIP_INDEX_URL": "https://user:secret@index.test/simple",
        "TORCH_INDEX": "https://user:secret@torch.test/cpu",
        "HTTPS_PROXY": "http://user:secret@proxy.test:3128",
    }
    build = program.Build(program.parse([]), environment, import_module("steps").Reporter())
    recipe = import_module("image_recipes").choose(["runtime-diffusers"])[0]
    docker = import_module("docker_engine").Docker("docker", environment, own=True)

    secrets = [f"{name}={path}" for name, path in build._write_secrets(tmp_path).items()]
    command = [*build._command(recipe, "base", "build-base", docker), *secrets]

    assert "secret@" not in " ".join(command)
    assert "HTTPS_PROXY" in command
    assert "secret@index.test" in (tmp_path / "pip.conf").read_text()
    assert "secret@torch.test" in (tmp_path / "torch-index").read_text()


def test_an_index_of_cpu_builds_is_not_for_the_image_for_gpus(scripts: Path) -> None:
    program, recipes = import_module("build_images"), import_module("image_recipes")
    taken = {
        recipe.name: [name for name in ("pip.conf", "ca.crt", "torch-index") if program._takes(recipe, name)]
        for recipe in recipes.choose(["runtime-diffusers", "runtime-diffusers-cuda"])
    }
    assert taken == {
        "heliograph-runtime-diffusers": ["pip.conf", "ca.crt", "torch-index"],
        "heliograph-runtime-diffusers-cuda": ["pip.conf", "ca.crt"],
    }


@pytest.mark.parametrize("content", ["{pid}", "no number", ""])
def test_no_process_but_a_daemon_of_ours_is_ended(tmp_path: Path, scripts: Path, content: str) -> None:
    """The number in a file that a killed run left may be another program's by now."""
    pid_file = tmp_path / "dockerd.pid"
    pid_file.write_text(content.format(pid=os.getpid()))

    import_module("docker_engine")._end_orphan(pid_file)  # else this process would be gone


def test_a_second_build_waits_for_the_first(tmp_path: Path, scripts: Path) -> None:
    code = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1])\n"
        "import steps\n"
        "lock = pathlib.Path(sys.argv[2]) / 'lock'\n"
        "with steps.alone(lock, steps.Reporter(), waiting_for='another build of images to end'):\n"
        "    print('alone', flush=True); sys.stdin.readline()\n"
    )
    command = [sys.executable, "-c", code, str(scripts), str(tmp_path)]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as second,
    ):
        said = {process: process.stdout.readline() for process in (first, second) if process.stdout}
        assert sorted(said.values()) == ["Waiting for another build of images to end ...\n", "alone\n"]
        holder, waiting = sorted(said, key=lambda process: said[process], reverse=True)
        holder.communicate("\n", timeout=30)
        assert waiting.stdout
        assert waiting.stdout.readline() == "alone\n"
        waiting.communicate("\n", timeout=30)
