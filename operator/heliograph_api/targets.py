"""For which model a request to a runtime is: a pod's address may have been another one's a moment ago."""

TARGET_HEADER = "x-heliograph-target"
"""Header of a gateway's requests to a runtime; those without it are served."""
MISDIRECTED = 421
"""Status with which a runtime refuses a request for another model, before it begins with it."""


def target_of(namespace: str, name: str) -> str:
    """Return the header's value for the ImageModel of this namespace, empty outside a cluster, and name."""
    return f"{namespace}/{name}"


def is_target(told: str, *, namespace: str, name: str) -> bool:
    """Return whether a header's value means a model; outside a cluster, where no address is another pod's, each does.

    Args:
        told: The value.
        namespace: Namespace of the model; empty outside a cluster, or where the manifest does not tell it.
        name: Name of the model.
    """
    return not namespace or told == target_of(namespace, name)
