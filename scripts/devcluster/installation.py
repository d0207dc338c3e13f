"""Heliograph in the development cluster: images, charts, weights and examples."""

import contextlib
import hashlib
import json
import os
import string
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cluster.go_programs import cache_folder
from devcluster.cluster import Cluster
from devcluster.image_tar import read_images
from devcluster.layout import NODE_ADDRESS
from image_recipes import choose
from steps import Reporter, StepError, ending_with_us, run

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[1]
_NAMESPACE = "heliograph"
_CLAIM = "heliograph-models"
_FILLED = "heliograph.dev/examples"
_NAMESPACE_MANIFEST = f"""\
apiVersion: v1
kind: Namespace
metadata:
  name: {_NAMESPACE}
  labels: {{pod-security.kubernetes.io/enforce: restricted, pod-security.kubernetes.io/warn: restricted}}
"""
_EXAMPLES = {"tiny": "tiny-model", "tiny-flux": "tiny-flux"}
"""The models of examples/, and the folder of each one's weights."""
_PENDING = ("pending-install", "pending-upgrade", "pending-rollback")


def install(cluster: Cluster, reporter: Reporter) -> None:
    """Install Heliograph with the examples, or bring what is installed up to date, and print what to do next.

    Raises:
        StepError: When the cluster is not up, or a step failed; the next call goes on from there.
    """
    if not cluster.is_up():
        raise StepError("the development cluster is not up: `make cluster` brings it up and installs Heliograph")
    try:
        archives = build_images()
    except StepError as error:
        raise StepError(f"{error}; the cluster itself is up") from error
    for archive in archives.values():
        cluster.import_image(archive)
    cluster.apply(_NAMESPACE_MANIFEST)
    _install_charts(cluster, reporter)
    _replace_pods(cluster, {image.name: image.digest for path in archives.values() for image in read_images(path)})
    for component in ("operator", "gateway"):
        told = f"deployment/heliograph-{component}"
        _wait(cluster, reporter, f"Waiting for the {component}", "rollout", "status", told, describe=told)
    _fill_claim(cluster, reporter)
    for name in _EXAMPLES:
        _kubectl(cluster, "apply", "--filename", _ROOT / "examples" / f"{name}.yaml")
    for name in _EXAMPLES:
        ready = ("wait", "--for=condition=Ready", f"imagemodel/{name}")
        _wait(cluster, reporter, f"Waiting for the model {name}", *ready, describe=f"imagemodel/{name}")
    values = {
        "models": " and ".join(_EXAMPLES),
        "kubeconfig": str(cluster.kubeconfig),
        "bin": str(cluster.layout.bin),
        "address": NODE_ADDRESS,
        "busybox": cluster.busybox,
    }
    text = string.Template((_HERE / "next.txt").read_text())
    reporter.say(text.substitute(values))


def build_images() -> dict[str, Path]:
    """Build the product's images as far as they are not there, and return the archive of each.

    Raises:
        StepError: When one could not be built; why was printed.
    """
    folder = cache_folder(os.environ) / "images"
    folder.mkdir(parents=True, exist_ok=True)
    names = [recipe.name for recipe in choose([])]
    command: list[str | Path] = [sys.executable, _ROOT / "scripts" / "build_images.py", *names, "--output", folder]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process, ending_with_us(process):
        process.wait()
    if process.returncode:
        raise StepError("the images could not be built (see above)")
    return {name: folder / f"{name}.tar" for name in names}


def _install_charts(cluster: Cluster, reporter: Reporter) -> None:
    # helm refuses to go on where a run of it was killed; nothing else runs helm here.
    states = ",".join(_PENDING)
    _kubectl(cluster, "delete", "secret", "--selector", f"owner=helm,status in ({states})")
    for release, options in {
        "heliograph-crds": ["--take-ownership"],
        "heliograph": ["--values", str(_HERE / "values.yaml")],
    }.items():
        chart = _ROOT / "charts" / release
        helm: list[str | Path] = [Path(sys.executable).parent / "helm", "upgrade", "--install", release, chart]
        where: list[str | Path] = ["--namespace", _NAMESPACE, "--kubeconfig", cluster.kubeconfig]
        run(
            [*helm, *options, *where],
            reporter=reporter,
            doing=f"Installing the chart {release}",
            environment=cluster.environment,
        )


def _replace_pods(cluster: Cluster, digests: Mapping[str, str]) -> None:
    """Delete pods that run an earlier build of an image whose tag is the same; what owns them makes new ones."""
    found = json.loads(cluster.kubectl("get", "pods", "--all-namespaces", "--output=json").stdout)["items"]
    for pod in outdated(found, digests):
        where = pod["metadata"]
        named = ("pod", where["name"], "--namespace", where["namespace"])
        cluster.kubectl("delete", *named, "--ignore-not-found", "--wait=false")


def outdated(pods: Sequence[Mapping[str, Any]], digests: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """Return the pods of ReplicaSets that run another image than the one that its name stands for now.

    Args:
        pods: Pods with their status.
        digests: Digest of the configuration of each image, by name.
    """

    def is_outdated(pod: Mapping[str, Any]) -> bool:
        owners = {owner["kind"] for owner in pod["metadata"].get("ownerReferences", ())}
        images = {container["name"]: container["image"] for container in pod["spec"]["containers"]}
        return "ReplicaSet" in owners and any(
            status.get("imageID", "").startswith("sha256:")
            and digests.get(images[status["name"]], status["imageID"]) != status["imageID"]
            for status in pod["status"].get("containerStatuses", ())
        )

    return [pod for pod in pods if is_outdated(pod)]


def _fill_claim(cluster: Cluster, reporter: Reporter) -> None:
    """Copy the weights of the examples into their claim, through a pod, unless they are in it."""
    folders = [_ROOT / "examples" / folder for folder in _EXAMPLES.values()]
    content = _content(folders)
    annotation = f"jsonpath={{.metadata.annotations.{_FILLED.replace('.', chr(92) + '.')}}}"
    told = cluster.kubectl("--namespace", _NAMESPACE, "get", f"pvc/{_CLAIM}", "--output", annotation, check=False)
    if told.stdout == content:
        return
    _kubectl(cluster, "delete", "pod/fill", "--ignore-not-found")
    cluster.apply(json.dumps(claim_and_pod(cluster.busybox, namespace=_NAMESPACE)))
    ready = ("wait", "--for=condition=Ready", "pod/fill")
    _wait(cluster, reporter, "Waiting for the pod that fills the claim", *ready, describe="pod/fill")
    for folder in folders:
        reporter.start(f"Copying {folder.name} into the claim")
        _kubectl(cluster, "cp", folder, "fill:/models/", timeout=300)
    _kubectl(cluster, "delete", "pod/fill")
    _kubectl(cluster, "annotate", "--overwrite", f"pvc/{_CLAIM}", f"{_FILLED}={content}")


def claim_and_pod(image: str, *, namespace: str) -> dict[str, Any]:
    """Return examples/kubernetes/claim.yaml as a List, its pod with an image that the node has.

    Args:
        image: Image with `sleep` and `tar`.
        namespace: The objects' namespace.
    """
    objects = list(yaml.safe_load_all((_ROOT / "examples" / "kubernetes" / "claim.yaml").read_text()))
    for item in objects:
        item["metadata"]["namespace"] = namespace
        for container in item["spec"].get("containers", ()):
            container |= {"image": image, "imagePullPolicy": "Never"}
    return {"apiVersion": "v1", "kind": "List", "items": objects}


def _content(folders: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _kubectl(cluster: Cluster, *arguments: str | Path, timeout: float = 120.0) -> None:
    cluster.kubectl("--namespace", _NAMESPACE, *arguments, timeout=timeout)


def _wait(cluster: Cluster, reporter: Reporter, doing: str, *arguments: str, describe: str) -> None:
    where: list[str | Path] = ["--kubeconfig", cluster.kubeconfig, "--namespace", _NAMESPACE]
    command: list[str | Path] = [cluster.kubectl_program, *where, *arguments, "--timeout=180s"]
    try:
        run(command, reporter=reporter, doing=doing, environment=cluster.environment)
    except StepError as error:
        told = ""
        with contextlib.suppress(StepError):
            # The conditions and Events of the object say why.
            told = cluster.kubectl("--namespace", _NAMESPACE, "describe", describe, check=False).stdout
        raise StepError(f"{error}\n{told[-3000:]}") from error
