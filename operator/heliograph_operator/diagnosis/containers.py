"""Why a container does not run, from what the kubelet writes to its status (k8s.io/api/core/v1 `ContainerStatus`)."""

import re

from heliograph_api.exits import FetchResult
from heliograph_operator.diagnosis.reasons import LOAD_CAUSES
from heliograph_operator.diagnosis.trouble import Trouble, quote, trouble
from heliograph_operator.resources import Object

_PULL = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_PULL_CAUSES = {
    "is not a valid image name": re.compile(r"InvalidImageName|invalid reference format", re.IGNORECASE),
    "may not be pulled by policy": re.compile(r"ErrImageNeverPull|NeverPull"),
    "needs credentials, or does not exist": re.compile(
        r"unauthorized|authorization|denied|forbidden|\b40[13]\b", re.IGNORECASE
    ),
    "is not in its registry": re.compile(r"not found|manifest unknown|NotFound|\b404\b", re.IGNORECASE),
    "is in a registry that does not answer": re.compile(
        r"no such host|dial tcp|timeout|connection refused|RegistryUnavailable|deadline", re.IGNORECASE
    ),
}
_START = frozenset({"CreateContainerError", "RunContainerError", "StartError", "ContainerCannotRun"})
_SECRET = re.compile(
    r'secret "(?P<name>[^"]+)" not found|find key (?P<key>\S+) in Secret \S+/(?P<of>\S+)', re.IGNORECASE
)
_LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\d \S+ (?P<level>[A-Z]+) (?P<logger>[\w.]+): (?P<text>.*)$")
_LOAD_ERROR = re.compile(r"^(?P<reason>[A-Z][A-Za-z]+): (?P<message>.+)$")
_TERMINATED = frozenset({0, 143})
"""Exit statuses after SIGTERM: the runtime ends with 0, a program that does not heed it with 128 + 15."""
_UNKNOWN_END = frozenset({"Unknown", "ContainerStatusUnknown"})
"""Reasons of an end that the kubelet did not see, as when its node started anew."""


def container_trouble(status: Object, *, image: str) -> Trouble | None:
    """Return why a container is not ready, or None when nothing speaks against its getting so.

    What ended it last counts while it runs anew, too: the state of a container that ends again and again alternates.

    Args:
        status: The container's status.
        image: Its image, as the pod's spec has it.
    """
    if status.get("ready"):
        return None
    state = status.get("state") or {}
    waiting = state.get("waiting") or {}
    reason = str(waiting.get("reason", ""))
    if reason in _PULL:
        return _pull_trouble(image, f"{reason} {waiting.get('message', '')}")
    if reason == "CreateContainerConfigError":
        return _config_trouble(str(waiting.get("message", "")))
    ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated")
    if reason in _START:
        return _start_trouble(image, str(waiting.get("message", "")))
    return _end_trouble(ended, image) if ended else None


def _pull_trouble(image: str, text: str) -> Trouble:
    # The registry's own words hold an address, and credentials where they are part of it.
    causes = (cause for cause, sign in _PULL_CAUSES.items() if sign.search(text))
    return trouble("ImagePullFailed", f"The image {image} {next(causes, 'cannot be pulled')}")


def _config_trouble(text: str) -> Trouble:
    if found := _SECRET.search(text):
        missing = f"Secret {found['name']}" if found["name"] else f"key {found['key']} in the Secret {found['of']}"
        return trouble("SecretMissing", f"There is no {missing}")
    return trouble("ConfigError", f"The container cannot be configured ({quote(text)})")


def _start_trouble(image: str, text: str) -> Trouble:
    lack = "lacks its program" if re.search(r"not found|no such file", text, re.IGNORECASE) else "cannot be started"
    return trouble("StartFailed", f"The image {image} {lack}")


def _end_trouble(ended: Object, image: str) -> Trouble | None:
    """Return why a container ended, or None when that is not known."""
    reason, code, message = ended.get("reason"), ended.get("exitCode", 0), str(ended.get("message") or "").strip()
    if reason in _UNKNOWN_END:
        return None
    if reason in _START:
        return _start_trouble(image, message)
    if reason == "OOMKilled":
        return trouble("OutOfMemory", "The container was killed for using more memory than its limit")
    told = FetchResult.read(message)
    if told is not None and told.reason != "Fetched":
        return Trouble(told.reason, quote(told.message))
    return _exit_trouble(code, message)


def _exit_trouble(code: int, message: str) -> Trouble:
    """Return why a container's program ended, from its exit status and the end of its log."""
    if code in _TERMINATED:
        return trouble("ProbeFailing", "The container was ended because its probe failed")
    last = message.rpartition("\n")[2]
    logged = _LOG_LINE.match(last)
    if logged is None:
        said = f" ({quote(last)})" if last else ""
        return trouble("CrashLoop", f"The container ended with status {code}{said}")
    if logged["level"] == "CRITICAL":
        return _load_trouble(logged["text"])
    return trouble("CrashLoop", f"The container ended with status {code}")


def _load_trouble(text: str) -> Trouble:
    """Return what a runtime's last words tell: `Reason: field: problem; remedy`, or a manifest's error without one."""
    found = _LOAD_ERROR.match(text)
    if found and found["reason"] in LOAD_CAUSES:
        return Trouble(found["reason"], quote(found["message"]))
    return Trouble("InvalidSpec" if text.startswith(("spec", "manifest")) else "LoadFailed", quote(text))
