"""The images that the cluster itself needs: programs that are built here from pinned sources, and Debian's busybox."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.go_programs import BuildError, go_program
from devcluster import host
from devcluster.image_tar import ImageTar, write_image
from devcluster.layout import Layout
from steps import Reporter, StepError

_SOURCES = Path(__file__).resolve().parent / "go"
_USER = "65532:65532"
REPOSITORIES = "heliograph-devcluster"
"""What is before the slash in the images' names."""
_PACKAGES = {
    "pause": "./pause",
    "coredns": "./coredns",
    "local-path-provisioner": "github.com/rancher/local-path-provisioner",
}
"""The main package of each program, by its name."""


@dataclass(frozen=True)
class Parts:
    """The images.

    Attributes:
        images: Each image by the name of its program; `busybox` is one of them.
    """

    images: Mapping[str, ImageTar]

    def __getitem__(self, name: str) -> str:
        """Return the name of an image."""
        return self.images[name].name


def make_parts(layout: Layout, reporter: Reporter) -> Parts:
    """Return the images, made now as far as they are not there.

    Raises:
        StepError: When a program cannot be built or fetched.
    """
    layout.images.mkdir(parents=True, exist_ok=True)
    images: dict[str, ImageTar] = {}
    for name, package in _PACKAGES.items():
        try:
            program, _ = go_program(name, _SOURCES, package=package)
        except BuildError as error:
            raise StepError(f"{name} cannot be built: {error}") from error
        images[name] = _image(layout, name, program, {})
    busybox = layout.images / "busybox"
    if not busybox.exists():
        host.fetch_busybox(busybox, reporter)
    images["busybox"] = _image(layout, "busybox", busybox, dict.fromkeys(host.applets(busybox), "busybox"))
    return Parts(images)


def _image(layout: Layout, name: str, program: Path, applets: Mapping[str, str]) -> ImageTar:
    path = f"/bin/{name}"
    return write_image(
        layout.images / f"{name}.tar",
        repository=f"{REPOSITORIES}/{name}",
        programs={path: program},
        links={f"/bin/{applet}": target for applet, target in applets.items() if applet != name},
        entrypoint=() if applets else [path],
        command=["sh"] if applets else (),
        user="0:0" if applets else _USER,
    )
