"""The cluster's own containerd, by its command line tool."""

import contextlib
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

from cluster.waiting import eventually
from devcluster import processes, remains
from devcluster.image_tar import read_images
from devcluster.layout import Layout
from disk import require_room
from steps import Reporter, StepError, run

_NAMESPACE = "k8s.io"
_MANAGED = "io.cri-containerd.image"
_ROOM = 2
"""What an import writes, in sizes of the archive: its layers as they are, and unpacked."""


class Containerd:
    """What is asked of a containerd that runs."""

    def __init__(self, layout: Layout, reporter: Reporter) -> None:
        """Use the containerd of a cluster's folders, and tell the user what takes long."""
        self._layout = layout
        self._reporter = reporter

    def ctr(self, *arguments: str | Path, timeout: float = 900.0) -> str:
        """Run `ctr` in the namespace of Kubernetes and return what it prints.

        Raises:
            StepError: When it fails.
        """
        try:
            done = subprocess.run(
                self._command(*arguments),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise StepError(str(error)) from error
        if done.returncode:
            raise StepError(f"ctr {' '.join(map(str, arguments))} failed: {done.stderr.strip()}")
        return done.stdout

    def _command(self, *arguments: str | Path) -> list[str | Path]:
        return ["ctr", "--address", self._layout.socket, "--namespace", _NAMESPACE, *arguments]

    def answers(self) -> bool:
        """Return whether it serves."""
        with contextlib.suppress(StepError):
            self.ctr("version")
            return True
        return False

    def import_image(self, archive: Path) -> bool:
        """Import the images of an archive, unless they are there; on return the kubelet finds them.

        Returns:
            Whether anything was imported.

        Raises:
            StepError: When the archive cannot be read or imported.
        """
        try:
            wanted = {image.name: image.digest for image in read_images(archive)}
        except (OSError, ValueError) as error:
            raise StepError(f"cannot import {archive}: {error}") from error
        before = self._targets()
        if has_images(before, wanted):
            return False
        doing = f"Importing {archive.stem}"
        if not any(_is_called(key, name) for key in before for name in wanted):  # else it shares layers with that one
            require_room({self._layout.root: _ROOM * archive.stat().st_size}, doing=doing)
        run(self._command("images", "import", archive), reporter=self._reporter, doing=doing)
        for name in [key for key in before for name in wanted if _is_called(key, name)]:
            # Who has the mark keeps the identity that it had; without it, the kubelet's side gives it its new one.
            self.ctr("images", "label", name, f"{_MANAGED}=")
        try:
            eventually(lambda: has_images(self._targets(), wanted), what="image for the kubelet", timeout=60.0)
        except TimeoutError as error:
            raise StepError(f"{', '.join(wanted)} was imported, but containerd does not show it: {error}") from error
        replaced = {_find(before, name) for name in wanted}
        after = self._targets()
        named = {target for name, target in after.items() if not name.startswith("sha256:")}
        if unnamed := [name for name, target in after.items() if target in replaced - named]:
            self.ctr("images", "remove", *unnamed)
        return True

    def remove_images(self, repositories: str, *, but: Collection[str]) -> None:
        """Remove the images whose names begin with a path, but some.

        Args:
            repositories: What is before the last slash of the names.
            but: Names with tags that stay.
        """
        if unused := unused_names(self._targets(), repositories, but):
            self.ctr("images", "remove", *unused)

    def _targets(self) -> dict[str, str]:
        """Return the digest that each name leads to; the kubelet's name of an image is its configuration's digest."""
        rows = [line.split() for line in self.ctr("images", "list").splitlines()[1:]]
        return {row[0]: row[2] for row in rows}

    def remove_containers(self) -> None:
        """End and forget every container; the network of pods is not told."""
        sockets = remains.shim_sockets(self._layout)
        if tasks := self.ctr("tasks", "list", "--quiet").split():
            with contextlib.suppress(StepError):  # one that ended by itself meanwhile
                self.ctr("tasks", "delete", "--force", *tasks)
        if containers := self.ctr("containers", "list", "--quiet").split():
            self.ctr("containers", "delete", *containers)
        for socket in sockets:
            socket.unlink(missing_ok=True)

    def end(self) -> None:
        """End containerd and the processes that watch over containers, with the containers."""
        sockets = remains.shim_sockets(self._layout)
        ours = [program for program in processes.of(self._layout.root) if program.name == "containerd"]
        processes.end(ours)
        remains.end_pods(self._layout)
        for socket in sockets:
            socket.unlink(missing_ok=True)


def unused_names(targets: Mapping[str, str], repositories: str, but: Collection[str]) -> list[str]:
    """Return the names of images below a path that are to go, and the kubelet's names of those images.

    Args:
        targets: The digest that each name leads to.
        repositories: What is before the last slash of the names.
        but: Names with tags that stay.
    """
    kept = {target for key, target in targets.items() if _is_any(key, but)}
    old = [key for key in targets if f"/{repositories}/" in f"/{key}" and not _is_any(key, but)]
    gone = {targets[key] for key in old} - kept
    return [*old, *(key for key, target in targets.items() if key.startswith("sha256:") and target in gone)]


def has_images(targets: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Return whether the kubelet finds images by their names.

    Args:
        targets: The digest that each name leads to.
        wanted: The digest of each image's configuration, which is the kubelet's name of it.
    """
    return all(_find(targets, name) == targets.get(digest, "") != "" for name, digest in wanted.items())


def _find(targets: Mapping[str, str], name: str) -> str:
    """Return the digest that an image's name leads to, or "" when there is none."""
    return next((target for key, target in targets.items() if _is_called(key, name)), "")


def _is_called(key: str, name: str) -> bool:
    # Containerd puts a host and a path before short names.
    return key == name or key.endswith(f"/{name}")


def _is_any(key: str, names: Collection[str]) -> bool:
    return any(_is_called(key, name) for name in names)
