"""The images that the node tests run: the product's own, and one with OpenAI's client for the application's pod."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from devcluster import installation
from node.layers import add_layer, find_in_layers

CONTROL_PLANE = "heliograph-control-plane"
_LOCK = Path(__file__).resolve().parents[2] / "requirements" / "openai.lock"


@dataclass(frozen=True)
class Images:
    """Archives of images.

    Attributes:
        product: Those that `make images` makes.
        client: That with the client, under the name `client_name`.
        client_name: Name and tag of it.
    """

    product: list[Path]
    client: Path
    client_name: str

    @property
    def all(self) -> list[Path]:
        """Return every archive."""
        return [*self.product, self.client]


def build_images() -> Images:
    """Build what is not there yet, showing how far it is."""
    product = installation.build_images()
    client, name = _client_image(product[CONTROL_PLANE])
    return Images([*product.values()], client, name)


def _client_image(base: Path) -> tuple[Path, str]:
    """Return the archive of the client's image, and the image's name."""
    lock = _LOCK.read_text()
    key = hashlib.sha256(f"{lock} {base.stat().st_mtime_ns} {base.stat().st_size}".encode()).hexdigest()[:12]
    output, name = base.with_name("heliograph-test-client.tar"), f"heliograph-test-client:{key}"
    mark = output.with_suffix(".key")
    if output.exists() and mark.exists() and mark.read_text() == key:
        return output, name
    python = find_in_layers(base, "/site-packages/heliograph_api/naming.py").rpartition("/lib/python")[2].partition("/")
    target = Path(tempfile.mkdtemp(prefix="heliograph-client-"))
    try:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        locked = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement", str(_LOCK)]
        aimed = ["--implementation", "cp", "--python-version", python[0], "--target", str(target)]
        subprocess.run([*pip, *locked, *aimed], check=True)
        add_layer(base, output, name=name, folders={"/client": target})
    finally:
        shutil.rmtree(target)
    mark.write_text(key)
    return output, name
