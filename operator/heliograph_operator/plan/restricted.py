"""What every pod of ours says to be fit for the *restricted* Pod Security Standard.

Source: kubernetes.io/docs/concepts/security/pod-security-standards.
"""

from heliograph_operator.resources import Object

USER = 65532
"""User and group of every container, as in images without a shell."""
POD_SECURITY: Object = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
WRITER_SECURITY: Object = {**POD_SECURITY, "fsGroup": USER, "fsGroupChangePolicy": "OnRootMismatch"}
"""That of a pod that writes to a volume of weights, which belongs to `USER` by then."""
CONTAINER_SECURITY: Object = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
SCRATCH: Object = {"name": "tmp", "emptyDir": {"sizeLimit": "10Gi"}}
"""The volume of the one place that a container can write to; bounded, so that no pod fills its node's disk."""
SCRATCH_MOUNT: Object = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 - the pod's own volume
