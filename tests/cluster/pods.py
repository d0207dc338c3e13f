"""A kubelet's part, as far as a test without a node needs it: run a pod template's container as a process.

The command line and the environment are taken from the rendered object as they are. Only what a container runtime would
arrange is arranged here: mounted volumes become folders (their mount paths in arguments and environment are replaced),
and the container's ports become free ports of this machine.
"""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.addresses import free_port
from cluster.leash import Leash


def run_container(
    template: Mapping[str, Any],
    *,
    folder: Path,
    port: int,
    config_maps: Mapping[str, Mapping[str, str]] | None = None,
    secrets: Mapping[str, Mapping[str, str]] | None = None,
    claims: Mapping[str, Path] | None = None,
    env: Mapping[str, str] | None = None,
    address: str | None = None,
) -> Leash:
    """Start the first container of a pod template and return its process.

    Args:
        template: `spec.template` of a Deployment.
        folder: Where volumes and the log are laid out.
        port: Free port that takes the place of the container's first port.
        config_maps: `data` of each ConfigMap that the pod mounts, by name.
        secrets: `data` of each Secret that it mounts, by name, decoded.
        claims: Folder that holds the files of each PersistentVolumeClaim, by name.
        env: Variables beside the container's own, such as KUBECONFIG.
        address: The pod's address, which is listened on instead of all.
    """
    pod = template["spec"]
    container = pod["containers"][0]
    volumes = {
        volume["name"]: _lay_out(
            template,
            volume,
            folder / volume["name"],
            {"configMap": config_maps or {}, "secret": secrets or {}},
            claims or {},
        )
        for volume in pod.get("volumes", ())
    }
    mounts = {
        mount["mountPath"]: str(volumes[mount["name"]] / mount.get("subPath", ""))
        for mount in container.get("volumeMounts", ())
    }
    given = [str(entry["containerPort"]) for entry in container.get("ports", ())]
    ports = {number: str(free_port() if index else port) for index, number in enumerate(given)}

    def place(text: str) -> str:
        if text == "0.0.0.0" and address is not None:
            return address
        if text in ports:
            return ports[text]
        for path, local in mounts.items():
            if text == path or text.startswith(f"{path}/"):
                return local + text[len(path) :]
        return text

    command = [place(part) for part in [*container["command"], *container.get("args", ())]]
    # The image has the `heliograph` command on its PATH; here it is the one of the environment under test.
    command[0] = str(Path(sys.executable).parent / command[0])
    variables = {item["name"]: place(item["value"]) for item in container.get("env", ()) if "value" in item}
    base = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return Leash(command, log=folder / "container.log", env={**base, **variables, **(env or {})}, cwd=folder)


def _lay_out(
    template: Mapping[str, Any],
    volume: Mapping[str, Any],
    folder: Path,
    contents: Mapping[str, Mapping[str, Mapping[str, str]]],
    claims: Mapping[str, Path],
) -> Path:
    if "persistentVolumeClaim" in volume:
        return claims[volume["persistentVolumeClaim"]["claimName"]]
    folder.mkdir()
    for kind, field in (("configMap", "name"), ("secret", "secretName")):
        if kind in volume:
            for name, text in contents[kind][volume[kind][field]].items():
                (folder / name).write_text(text)
    for item in volume.get("downwardAPI", {}).get("items", ()):
        annotation = re.fullmatch(r"metadata\.annotations\['(.+)'\]", item["fieldRef"]["fieldPath"])
        assert annotation is not None, "a field that no pod of ours asks for"
        (folder / item["path"]).write_text(template["metadata"]["annotations"][annotation[1]])
    return folder
