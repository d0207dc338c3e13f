"""Image archives with a layer more: what `docker build` makes of FROM and COPY, without a daemon.

The format is that of `docker save` (github.com/moby/docker-image-spec): manifest.json names a config and the layers,
and the config names each layer by the SHA-256 of its tar.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from devcluster.image_tar import read_member


def add_layer(base: Path, output: Path, *, name: str, folders: Mapping[str, Path]) -> None:
    """Write an image that is another one with further folders in it.

    Args:
        base: Archive of one image.
        output: Archive to write.
        name: Name and tag of the new image.
        folders: Folder of this machine to copy, by its path in the image.
    """
    layer = _layer(folders)
    digest = hashlib.sha256(layer).hexdigest()
    with tarfile.open(base) as old:
        manifest = json.loads(read_member(old, "manifest.json"))[0]
        config = json.loads(read_member(old, manifest["Config"]))
        config["rootfs"]["diff_ids"].append(f"sha256:{digest}")
        config.setdefault("history", []).append({"created_by": f"COPY {' '.join(folders)}"})
        encoded = json.dumps(config).encode()
        config_name = f"{hashlib.sha256(encoded).hexdigest()}.json"
        layers = [*manifest["Layers"], f"{digest}/layer.tar"]
        written = {
            config_name: encoded,
            f"{digest}/layer.tar": layer,
            "manifest.json": json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": layers}]).encode(),
        }
        unfinished = output.with_suffix(".unfinished")
        with tarfile.open(unfinished, "w") as new:
            for path in dict.fromkeys(manifest["Layers"]):
                _copy(old, new, path)
            for path, content in written.items():
                _write(new, path, content)
    unfinished.replace(output)


def find_in_layers(archive: Path, ending: str) -> str:
    """Return the path in an image that ends so.

    Raises:
        FileNotFoundError: No layer has one.
    """
    with tarfile.open(archive) as image:
        for layer in json.loads(read_member(image, "manifest.json"))[0]["Layers"]:
            file = image.extractfile(_resolved(image, layer))
            assert file is not None
            with tarfile.open(fileobj=file) as members:
                found = next((member.name for member in members if member.name.endswith(ending)), None)
            if found is not None:
                return "/" + found.removeprefix("./").lstrip("/")
    raise FileNotFoundError(f"no layer of {archive} has a path that ends in {ending}")


def _layer(folders: Mapping[str, Path]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for path, folder in folders.items():
            layer.add(folder, arcname=path.lstrip("/"), filter=_plain)
    return buffer.getvalue()


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return a member that everybody may read, and that is the same whenever it is made."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    member.mode = 0o755 if member.isdir() else 0o644
    return member


def _resolved(image: tarfile.TarFile, path: str) -> tarfile.TarInfo:
    """Return a layer's member; `docker save` writes one that is there already as a link."""
    member = image.getmember(path)
    while member.issym() or member.islnk():
        target = member.linkname
        if member.issym():
            parts = [*Path(member.name).parent.parts, *Path(target).parts]
            target = "/".join(_without_parents(parts))
        member = image.getmember(target)
    return member


def _without_parents(parts: list[str]) -> list[str]:
    kept: list[str] = []
    for part in parts:
        if part == "..":
            kept.pop()
        else:
            kept.append(part)
    return kept


def _copy(old: tarfile.TarFile, new: tarfile.TarFile, path: str) -> None:
    member = _resolved(old, path)
    copied = tarfile.TarInfo(path)
    copied.size = member.size
    new.addfile(copied, old.extractfile(member))


def _write(new: tarfile.TarFile, path: str, content: bytes) -> None:
    member = tarfile.TarInfo(path)
    member.size = len(content)
    new.addfile(member, io.BytesIO(content))
