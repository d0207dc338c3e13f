"""What a kubelet writes to the status of a pod with one container that came to grief, word for word, but for names."""

from typing import Any

NAME = "runtime"
IMAGE = "registry.example.org/heliograph-runtime-diffusers:0.1.0"
START = "2026-05-01T12:00:00Z"
LATER = "2026-05-01T12:05:00Z"

Status = dict[str, Any]

LOAD_ERROR = (
    "UnsafeWeights: parameters.model: /models/old is a pickle, which can run code as it is read; convert it to "
    "safetensors"
)
LOG = "2026-05-01 12:00:01,007 INFO heliograph_runtime: serving tiny on port 8080"


def critical(text: str) -> str:
    """Return the end of a runtime's log that `text` closes."""
    return f"{LOG}\n2026-05-01 12:00:02,114 CRITICAL heliograph_runtime: {text}\n"


def waiting(reason: str, message: str = "", **container: Any) -> Status:
    """Return the status of a pod whose container waits."""
    return pod_status({"waiting": {"reason": reason, "message": message}}, **container)


def ended(reason: str, code: int, message: str = "") -> Status:
    """Return what a kubelet writes of a container's end."""
    terminated = {"exitCode": code, "reason": reason, "startedAt": START, "finishedAt": LATER}
    return {"terminated": {**terminated, **({"message": message} if message else {})}}


def crashed(reason: str, code: int, message: str = "") -> Status:
    """Return the status of a pod whose container has ended and waits to be started anew."""
    back_off = "back-off 5m0s restarting failed container=runtime pod=tiny-5d7c9_art(4f0e)"
    return waiting("CrashLoopBackOff", back_off, lastState=ended(reason, code, message), restartCount=5)


def running(*, ready: bool, since: str = START, **container: Any) -> Status:
    """Return the status of a pod whose container runs, and whose readiness is of the time `since`."""
    status = pod_status({"running": {"startedAt": START}}, ready=ready, started=True, **container)
    status["conditions"].append(condition("Ready", ready, since))
    return status


def failed(reason: str, message: str) -> Status:
    """Return the status of a pod that its node has given up."""
    conditions = [condition("DisruptionTarget", True, LATER), condition("Ready", False, LATER)]
    return {"phase": "Failed", "reason": reason, "message": message, "startTime": START, "conditions": conditions}


def pod_status(state: Status, **container: Any) -> Status:
    """Return the status of a pod with one container in a state."""
    status = {
        "name": NAME,
        "image": IMAGE,
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "started": False,
        "state": state,
        "lastState": {},
        **container,
    }
    phase = "Running" if "running" in state else "Pending"
    return {
        "phase": phase,
        "startTime": START,
        "conditions": [condition("PodScheduled", True, START)],
        "containerStatuses": [status],
    }


def mounting() -> Status:
    """Return the status of a pod that has a node since `START` and waits for its volumes."""
    status = pod_status({"waiting": {"reason": "ContainerCreating"}})
    status["conditions"].append(condition("PodReadyToStartContainers", False, START))
    return status


def pod(status: Status, *, template: str = "a", created: str = START, name: str = "p", **metadata: Any) -> Status:
    """Return a pod of that status; `template` tells pods of several templates apart."""
    labels = {"pod-template-hash": template}
    return {
        "metadata": {"name": name, "labels": labels, "creationTimestamp": created, **metadata},
        "spec": {"containers": [{"name": NAME, "image": IMAGE}], "nodeName": "node-1"},
        "status": status,
    }


def unscheduled(message: str) -> Status:
    """Return the status of a pod that the scheduler has no node for."""
    reason = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"phase": "Pending", "conditions": [reason]}


def condition(kind: str, holds: bool, since: str) -> Status:
    """Return a condition of a pod."""
    return {"type": kind, "status": str(holds), "lastTransitionTime": since}


def _lost() -> Status:
    status = running(ready=True)
    status["conditions"] = [condition("PodScheduled", True, START), condition("Ready", False, LATER)]
    return status


KUBELET: dict[str, tuple[Status, str, str]] = {
    "pull-not-found": (
        waiting(
            "ErrImagePull",
            f'failed to pull and unpack image "{IMAGE}": failed to resolve reference "{IMAGE}": {IMAGE}: not found',
        ),
        "ImagePullFailed",
        "is not in its registry: check image.registry",
    ),
    "pull-denied": (
        waiting(
            "ImagePullBackOff",
            f'Back-off pulling image "{IMAGE}": ErrImagePull: failed to pull and unpack image "{IMAGE}": failed to '
            "resolve reference: pull access denied, repository does not exist or may require authorization",
        ),
        "ImagePullFailed",
        "needs credentials, or does not exist: check image.registry, image.tag and imagePullSecrets",
    ),
    "pull-no-name": (
        waiting("InvalidImageName", 'Failed to apply default image tag "a b": couldn\'t parse image name'),
        "ImagePullFailed",
        "is not a valid image name",
    ),
    "out-of-memory": (crashed("OOMKilled", 137), "OutOfMemory", "raise spec.serving.resources.limits.memory"),
    "load-error": (
        crashed("Error", 1, critical(LOAD_ERROR)),
        "UnsafeWeights",
        "parameters.model: /models/old is a pickle, which can run code as it is read; convert it to safetensors",
    ),
    "bad-pipeline": (
        crashed("Error", 1, critical("UnknownPipeline: diffusers.pipeline_type: there is no Foo; leave it out")),
        "UnknownPipeline",
        "diffusers.pipeline_type: there is no Foo; leave it out",
    ),
    "crash": (
        crashed("Error", 134, f"{LOG}\nterminate called after throwing an instance of 'std::bad_alloc' at 0x7f32ac00"),
        "CrashLoop",
        "ended with status 134 (terminate called after throwing an instance of 'std::bad_alloc' at 0x…): look at",
    ),
    "liveness": (crashed("Completed", 0), "ProbeFailing", "its probe failed: look at its log"),
    "readiness": (running(ready=False, since=LATER), "ProbeFailing", "was ready and is no more"),
    "secret": (
        waiting("CreateContainerConfigError", 'secret "hub-token" not found'),
        "SecretMissing",
        "There is no Secret hub-token: create it",
    ),
    "secret-key": (
        waiting("CreateContainerConfigError", "couldn't find key token in Secret art/hub-token"),
        "SecretMissing",
        "There is no key token in the Secret hub-token",
    ),
    "config": (
        waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"),
        "ConfigError",
        "container has runAsNonRoot and image will run as root",
    ),
    "start": (
        crashed(
            "StartError",
            128,
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create "
            'failed: unable to start container process: exec: "heliograph": executable file not found in $PATH',
        ),
        "StartFailed",
        f"The image {IMAGE} lacks its program",
    ),
    "node-lost": (_lost(), "NodeLost", "does not report any more: restore the node"),
    "evicted": (
        failed("Evicted", "The node was low on resource: memory. Threshold quantity: 100Mi, available: 52Mi."),
        "Evicted",
        "raise the requests in spec.serving.resources",
    ),
    "preempted": (
        failed("Preempting", "Preempted in order to admit critical pod"),
        "Preempted",
        "wait for its successor",
    ),
    "refused": (
        failed(
            "UnexpectedAdmissionError",
            "Pod was rejected: Allocate failed due to requested number of devices unavailable for nvidia.com/gpu",
        ),
        "RefusedByNode",
        "check the node's device plugin",
    ),
}
"""Status of a pod, the reason that it gives and words of the message."""

FETCHER = {
    "WeightsNotFound": "spec.parameters.model: hf://acme/none is not there (404); correct the name",
    "WeightsUnauthorized": "spec.parameters.model: hf://acme/gated asks for a token (401); accept its licence",
    "ChecksumMismatch": "spec.download_files[0]: its sha256 is another than is promised; correct it",
    "DiskFull": "spec.parameters.model: 6.6 GiB do not fit the volume; raise spec.serving.cache.size",
}
"""Last words of a fetcher: messages by reason."""
