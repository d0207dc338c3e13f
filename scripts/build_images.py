"""Build the container images: `python3 scripts/build_images.py [NAME ...]`, or `make images`.

Needs docker, or root on Debian, and Python 3.11's standard library alone. docs/images.md tells more.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import debian_base
from disk import require_room
from docker_engine import docker
from environment import fingerprint
from image_recipes import RECIPES, Recipe, build_key, choose, default_base, version
from pip_settings import certificates, pip_conf, pip_settings
from steps import Reporter, StepError, run_program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from docker_engine import Docker

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "build" / "images"
PULL_SECONDS = 300
_CACHE_KEPT = "12GB"
"""What a build with the same packages needs of our own daemon's cache."""
_TORCH_INDEX = "torch-index"
"""Name of the secret that says where torch comes from."""
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")


class Build:
    """The images of one call of the program."""

    def __init__(self, options: argparse.Namespace, environment: Mapping[str, str], reporter: Reporter) -> None:
        self._options = options
        self._environment = environment
        self._reporter = reporter
        self._version = version(ROOT)

    def needed(self, recipes: Sequence[Recipe]) -> list[Recipe]:
        """Return the images whose archive is not there, or was built from something else; all without --output."""
        return self._stale(recipes, self._options.output)

    def build(self, recipes: Sequence[Recipe], engine: Docker) -> None:
        """Build images, and keep each as an archive where that is asked for.

        Raises:
            StepError: A step failed.
        """
        output = self._options.output or (OUTPUT if engine.own else None)
        recipes = self._stale(recipes, output)
        if not recipes:
            self._reporter.say(f"Nothing has changed since the archives in {output} were made")
            return
        if engine.own:
            self._require_room(recipes, engine, output or OUTPUT)
        base = self._find_base(recipes[0], engine)
        build_base = debian_base.build_tag() if base == debian_base.tag(ROOT) else base
        with tempfile.TemporaryDirectory() as folder:
            secrets = self._write_secrets(Path(folder))
            for number, recipe in enumerate(recipes, start=1):
                started = time.monotonic()
                doing = f"Building {recipe.name} ({number} of {len(recipes)})"
                command = self._command(recipe, base, build_base, engine)
                key = self._key(recipe, base)  # now: an edit while the build is under way may not be in it
                given = (f"id={name},src={path}" for name, path in secrets.items() if _takes(recipe, name))
                options = [word for secret in given for word in ("--secret", secret)]
                engine.tell(*command, *options, str(ROOT), reporter=self._reporter, doing=doing)
                if output is not None:
                    self._keep(recipe, key, output, engine)
                self._reporter.say(f"{self._tag(recipe)} is built ({time.monotonic() - started:.0f} s)")
        if engine.own:  # nobody else looks after what it keeps
            engine.ask("image", "prune", "--force")
            engine.ask("builder", "prune", "--all", "--force", "--keep-storage", _CACHE_KEPT, timeout=120)
        if output is not None:
            self._reporter.say(f"The archives are in {output}")

    def _require_room(self, recipes: Sequence[Recipe], engine: Docker, output: Path) -> None:
        """Make sure of the room for a build; what was built before shares layers with it, and is replaced in turn.

        Raises:
            StepError: There is too little.
        """
        halves = {recipe: recipe.room // 2 for recipe in recipes}
        unknown = [recipe for recipe in recipes if not engine.image_id(self._tag(recipe))]
        layers = sum(halves[recipe] for recipe in unknown)
        archives = max(layers, *halves.values())
        wanted = {cache_folder(self._environment) / "images" / "docker": layers, output: archives}
        require_room(wanted, doing=f"Building {len(recipes)} images")

    def _find_base(self, recipe: Recipe, engine: Docker) -> str:
        """Return the image to build on, which the daemon has then."""
        wanted = self._options.base
        if wanted == debian_base.NAME:
            debian_base.make(engine, ROOT, anew=self._options.pull, reporter=self._reporter)
            return debian_base.tag(ROOT)
        base = wanted or default_base(ROOT, recipe.containerfile)
        if engine.image_id(base) and not self._options.pull:
            return str(base)
        self._reporter.start(f"Pulling {base}")
        pulled = engine.ask("pull", "--quiet", base, timeout=PULL_SECONDS)
        if pulled.returncode == 0:
            return str(base)
        reason = pulled.stderr.strip()
        if wanted or not debian_base.can_be_made():
            raise StepError(f"{base}: cannot be pulled; name another image with --base\n{reason}")
        self._reporter.say(f"{base} cannot be pulled, so the base is made of Debian's packages\n  {reason}")
        debian_base.make(engine, ROOT, anew=self._options.pull, reporter=self._reporter)
        return debian_base.tag(ROOT)

    def _command(self, recipe: Recipe, base: str, build_base: str, engine: Docker) -> list[str]:
        arguments = {"BASE": base, "BUILD_BASE": build_base, "VERSION": self._version}
        if recipe.variant:
            arguments["VARIANT"] = recipe.variant
        if epoch := self._environment.get("SOURCE_DATE_EPOCH"):
            arguments["SOURCE_DATE_EPOCH"] = epoch
        command = ["build", "--file", str(ROOT / "images" / recipe.containerfile), "--tag", self._tag(recipe)]
        for name, value in arguments.items():
            command += ["--build-arg", f"{name}={value}"]
        for name in (*_PROXIES, *(name.lower() for name in _PROXIES)):
            if name in self._environment:  # docker takes the value from the environment, and keeps it in no history
                command += ["--build-arg", name]
        if self._options.revision:
            command += ["--label", f"org.opencontainers.image.revision={self._options.revision}"]
        network = self._options.network or ("host" if engine.own else None)
        return [*command, *(["--network", network] if network else [])]

    def _write_secrets(self, folder: Path) -> dict[str, Path]:
        """Write what pip must know to `folder`, and return the file of each secret of a build."""
        settings = pip_settings(self._environment)
        trusted = certificates(settings, self._environment)
        (folder / "pip.conf").write_text(pip_conf(settings, has_certificates=trusted is not None))
        secrets = {"pip.conf": folder / "pip.conf"}
        if trusted:
            secrets["ca.crt"] = trusted
        if index := self._environment.get("TORCH_INDEX"):
            secrets[_TORCH_INDEX] = folder / _TORCH_INDEX
            secrets[_TORCH_INDEX].write_text(index)
        return secrets

    def _keep(self, recipe: Recipe, key: str, output: Path, engine: Docker) -> None:
        """Write the archive of an image, unless a build of somebody else's takes its name meanwhile."""
        built = engine.image_id(self._tag(recipe))
        output.mkdir(parents=True, exist_ok=True)
        archive, draft = self._archive(recipe, output), output / f"{recipe.name}.tar.unfinished"
        archive.with_suffix(".key").unlink(missing_ok=True)
        doing = f"Writing {archive.name}"
        engine.tell("save", "--output", str(draft), self._tag(recipe), reporter=self._reporter, doing=doing)
        if engine.image_id(self._tag(recipe)) != built:
            draft.unlink()
            raise StepError(
                f"{self._tag(recipe)} was built anew by somebody else on this docker meanwhile, so that its archive may"
                " hold their image: run the same command again when they are done"
            )
        draft.replace(archive)
        archive.with_suffix(".key").write_text(key + "\n")

    def _stale(self, recipes: Sequence[Recipe], output: Path | None) -> list[Recipe]:
        if output is None or self._options.pull:
            return list(recipes)
        return [recipe for recipe in recipes if not self._is_kept(recipe, output)]

    def _is_kept(self, recipe: Recipe, output: Path) -> bool:
        archive = self._archive(recipe, output)
        try:
            kept = archive.with_suffix(".key").read_text().strip()
        except OSError:
            return False
        given = self._options.base
        bases = {
            debian_base.NAME: [debian_base.tag(ROOT)],
            None: [default_base(ROOT, recipe.containerfile), debian_base.tag(ROOT)],
        }
        return archive.is_file() and kept in {self._key(recipe, base) for base in bases.get(given, [given])}

    def _key(self, recipe: Recipe, base: str) -> str:
        arguments = {"base": base, "variant": recipe.variant or "", "version": self._version}
        arguments["epoch"] = self._environment.get("SOURCE_DATE_EPOCH", "")
        arguments["revision"] = self._options.revision or ""
        if recipe.takes_torch_index:
            arguments["torch"] = fingerprint(self._environment.get("TORCH_INDEX", ""))
        return build_key(ROOT, recipe.containerfile, arguments)

    def _tag(self, recipe: Recipe) -> str:
        return f"{recipe.name}:{self._version}"

    @staticmethod
    def _archive(recipe: Recipe, output: Path) -> Path:
        return output / f"{recipe.name}.tar"


def _takes(recipe: Recipe, name: str) -> bool:
    """Return whether an image's build is given the secret of a name."""
    return recipe.takes_torch_index or name != _TORCH_INDEX


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Build the container images.")
    known = ", ".join(recipe.name.removeprefix("heliograph-") for recipe in RECIPES)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"an image: {known}; all but those for GPUs unless given"
    )
    parser.add_argument(
        "--base",
        metavar="IMAGE",
        help=f"image to build on, or {debian_base.NAME} for one made of Debian's packages; unless given, a public one, "
        "or the latter where that cannot be pulled",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="keep each image as DIR/NAME.tar too; one whose sources have not changed is left as it is",
    )
    parser.add_argument("--pull", action="store_true", help="take the newest base, and build anew")
    parser.add_argument("--network", metavar="MODE", help="network of the build, as for docker build")
    parser.add_argument("--revision", metavar="COMMIT", help="revision that the label of the images names")
    return parser.parse_args(arguments)


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder that holds the project's caches.

    The rule is that of `cache_folder` in tests/cluster/go_programs.py, which this program runs without.
    """
    if own := environment.get("HELIOGRAPH_CACHE"):
        return Path(own).expanduser().resolve()
    return (Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heliograph").resolve()


def main() -> int:
    """Do what the command line asks; return the exit status."""
    options = parse()

    def work(reporter: Reporter) -> int:
        build = Build(options, os.environ, reporter)
        recipes = build.needed(choose(options.names))
        if recipes:
            with docker(os.environ, cache=cache_folder(os.environ), reporter=reporter) as engine:
                build.build(recipes, engine)
        return 0

    return run_program(work)


if __name__ == "__main__":
    sys.exit(main())
