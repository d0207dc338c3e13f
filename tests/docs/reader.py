"""Somebody who does what a document says: in a folder like a fresh checkout, with real programs."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from cli.serving import Serving
from clients.installed import NODE, node_clients
from cluster.leash import Leash
from docs.blocks import ROOT, SHELL, Block, all_blocks
from pictures import classify

ADDRESS = re.compile(r"http://127\.0\.0\.1:808[01]\b")
"""Where a gateway is in every document; at the second port it stands beside LocalAI, which has the first."""

_BLOCK_SECONDS = 180.0
_CHECKOUT = ("charts", "crds", "docs", "examples")
_SERVING = re.compile(r"^(?:make run|(?:\.venv/bin/)?heliograph (?:serve|run)) ?.*", re.MULTILINE)
_MODELS = {"": "examples/tiny.yaml", "sdcpp": "examples/tiny-flux.yaml"}
_PROMPT = re.compile(r"\ban? (?P<colour>\w+) (?P<shape>\w+) on an? (?P<background>\w+) background")


def server_of(block: Block) -> str:
    """Return the last command of a shell block where that is one that serves until it is stopped, else nothing."""
    last = block.text.rstrip("\n").rpartition("\n")[2]
    return last if block.language in SHELL and _SERVING.fullmatch(last) else ""


def start_server(command: str, *, folder: Path, log: Path) -> Leash:
    """Start what serves, on a free port in place of 8080.

    Args:
        command: The command as it is documented.
        folder: Where it is given.
        log: File for its output.
    """
    if command.startswith("make run"):
        # As documented but for the port: MODEL stands on the command line of `heliograph serve`.
        engine = re.search(r"ENGINE=(\w+)", command)
        model = re.search(r"MODEL=(\S+)", command)
        manifest = model[1] if model else _MODELS[engine[1] if engine else ""]
        # At home is whoever runs the tests: pip reads its configuration there, should there be something to install.
        command, folder, home = f"{command} MODEL='{manifest} --port 0'", ROOT, Path.home()
    else:
        command, home = f"exec {command} --port 0", folder
    return Leash(["sh", "-c", command], log=log, env=environment(home), cwd=folder, grace=20.0)


def environment(home: Path, *, programs: Path | None = None, **more: str) -> dict[str, str]:
    """Return the variables of a reader's shell: those of this process but for keys, proxies and its home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HELIOGRAPH_API", "KUBE"))}
    path = [str(Path(sys.executable).parent), *([str(programs)] if programs else []), os.environ["PATH"]]
    return kept | {"HOME": str(home), "PATH": os.pathsep.join(path), "no_proxy": "*", **more}


@dataclass
class Reader:
    """A reader of one document.

    Attributes:
        folder: Where the reader stands: what a checkout has, and what the document's files hold.
        url: Address of the gateway that answers in place of the documented one.
        variables: Variables of the reader's shell, beside PATH and HOME.
        programs: Folder with kubectl and helm, or None.
        server: What the document itself started.
    """

    folder: Path
    url: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    programs: Path | None = None
    server: Leash | None = None

    def __post_init__(self) -> None:
        """Lay out what a checkout has."""
        (self.folder / ".venv").symlink_to(sys.prefix)
        for name in _CHECKOUT:
            (self.folder / name).symlink_to(ROOT / name)

    def open(self, document: str) -> None:
        """Lay out every file that a document shows, for who follows some of its blocks alone."""
        for block in all_blocks():
            if (block.document, block.kind) == (document, "file"):
                self._write(block)

    def follow(self, block: Block) -> str:
        """Do what a block says and return what it prints.

        A file is written; a server is started, and answers from then on. What is drawn must be what the block's prompt
        asks for.
        """
        if block.kind == "file":
            self._write(block)
            return ""
        if command := server_of(block):
            self._run(block, ["sh", "-e", "-c", block.text.rstrip("\n").removesuffix(command)])
            self._serve(command)
            return ""
        before = self._pictures()
        text = ADDRESS.sub(self.url, block.text)
        if block.language in SHELL:
            output = self._run(block, ["sh", "-e", "-c", text])
        elif block.language == "python":
            output = self._run(block, [sys.executable, "-c", text])
        else:
            output = self._run_node(block, text)
        self._look_at([path for path, time in self._pictures().items() if before.get(path) != time], block)
        return output

    def close(self) -> None:
        """Stop what the document started."""
        if self.server:
            self.server.stop()

    def _write(self, block: Block) -> None:
        path = self.folder / block.value
        inside = path.resolve().is_relative_to(self.folder.resolve())
        assert inside, f"{block.place}: {block.value} is a file of the checkout's own"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")

    def _serve(self, command: str) -> None:
        self.close()
        self.server = start_server(command, folder=self.folder, log=self.folder / "server.log")
        serving = Serving(self.server)
        serving.wait_ready()
        self.url = serving.url

    def _run(self, block: Block, command: list[str | Path]) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment(self.folder, programs=self.programs, GATEWAY=self.url, **self.variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_BLOCK_SECONDS,
            check=False,
        )
        if done.returncode:
            pytest.fail(
                f"{block.place} ended with status {done.returncode}:\n{block.text}{done.stdout}{done.stderr}",
                pytrace=False,
            )
        return done.stdout

    def _run_node(self, block: Block, text: str) -> str:
        packages = self.folder / "node_modules"
        packages.mkdir(exist_ok=True)
        if not (packages / "openai").exists():
            (packages / "openai").symlink_to(node_clients() / "node_modules" / "openai-7")
        (self.folder / "block.mjs").write_text(text, encoding="utf-8")
        return self._run(block, [NODE, "block.mjs"])

    def _pictures(self) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in self.folder.glob("*.png")}

    def _look_at(self, pictures: list[Path], block: Block) -> None:
        """Compare new pictures to the prompt of the block that drew them."""
        asked = _PROMPT.search(block.text)
        assert pictures or not (asked and ".png" in block.text), f"{block.place} drew nothing"
        for path in pictures:
            with Image.open(path) as picture:
                picture.load()
                if asked:
                    drawn = classify(picture)
                    assert (drawn.colour, drawn.shape, drawn.background) == asked.groups(), block.place
