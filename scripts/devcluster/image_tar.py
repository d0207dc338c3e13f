"""Container images as archives that containerd imports, made of a few files; and what such archives hold."""

import contextlib
import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class ImageTar:
    """An image in an archive.

    Attributes:
        path: The archive.
        name: The image's name with its tag.
        digest: Of its configuration (`sha256:...`), which the kubelet calls the image by.
    """

    path: Path
    name: str
    digest: str


def write_image(
    path: Path,
    *,
    repository: str,
    programs: Mapping[str, Path],
    links: Mapping[str, str] | None = None,
    entrypoint: Sequence[str] = (),
    command: Sequence[str] = (),
    user: str,
) -> ImageTar:
    """Write an image of one layer, tagged by what it holds, unless the archive has it already.

    Args:
        path: The archive to write.
        repository: The image's name without a tag.
        programs: Absolute path in the image, and the file that it is.
        links: Absolute path in the image, and what it is a link to.
        entrypoint: What a container runs whatever it is told, before its arguments.
        command: Its arguments, or all that it runs, where it is not told otherwise.
        user: Whom it runs as, as `UID:GID`.
    """
    layer = _layer(programs, links or {})
    config = {
        "architecture": _ARCHITECTURE.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {
            "Entrypoint": list(entrypoint),
            "Cmd": list(command),
            "User": user,
            "Env": ["PATH=/bin"],
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    config_bytes = json.dumps(config, sort_keys=True).encode()
    digest = _digest(config_bytes)
    name = f"{repository}:{digest.removeprefix('sha256:')[:12]}"
    image = ImageTar(path, name, digest)
    with contextlib.suppress(FileNotFoundError, ValueError):
        if read_images(path) == [image]:
            return image
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    draft = path.with_suffix(".new")
    with tarfile.open(draft, "w") as archive:
        for file, content in {
            "manifest.json": json.dumps(manifest).encode(),
            "config.json": config_bytes,
            "layer.tar": layer,
        }.items():
            archive.addfile(_entry(file, size=len(content), mode=0o644), io.BytesIO(content))
    draft.replace(path)
    return image


def _layer(programs: Mapping[str, Path], links: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        folders = {parent for name in (*programs, *links, "/tmp/-") for parent in Path(name).parents[:-1]}  # noqa: S108
        for folder in sorted(folders):
            entry = _entry(str(folder).lstrip("/"), mode=0o1777 if folder.name == "tmp" else 0o755)
            entry.type = tarfile.DIRTYPE
            layer.addfile(entry)
        for name, file in sorted(programs.items()):
            content = file.read_bytes()
            layer.addfile(_entry(name.lstrip("/"), size=len(content), mode=0o755), io.BytesIO(content))
        for name, target in sorted(links.items()):
            entry = _entry(name.lstrip("/"), mode=0o777)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            layer.addfile(entry)
    return buffer.getvalue()


def _entry(name: str, *, mode: int, size: int = 0) -> tarfile.TarInfo:
    # Owner root and the time 0, so that the same files are the same image.
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, mode
    return entry


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def read_images(path: Path) -> list[ImageTar]:
    """Return the images of an archive as `docker save` or this module writes it.

    Raises:
        ValueError: When it is no such archive.
        OSError: When it cannot be read.
    """
    try:
        with tarfile.open(path) as archive:
            manifest: list[dict[str, Any]] = json.loads(read_member(archive, "manifest.json"))
            return [
                ImageTar(path, name, _digest(read_member(archive, image["Config"])))
                for image in manifest
                for name in image["RepoTags"] or ()
            ]
    except (tarfile.TarError, KeyError) as error:
        raise ValueError(f"{path} is no image archive as `docker save` writes it: {error}") from error


def read_member(archive: tarfile.TarFile, name: str) -> bytes:
    """Return the content of a file in an archive; `KeyError` when there is none."""
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file.read()
