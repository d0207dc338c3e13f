"""The policy that comes with the CustomResourceDefinition: a bound on the parts of a spec that its schema leaves open.

LocalAI's keys are many and new ones come, so unknown keys are kept whatever they hold. But the API server stores values
that are nested so deep that it can't list them again, nor can a client read them (Python's `json` ends at 1000 levels):
one such object would take the ImageModels of the whole cluster out of service. No schema can tell how deep an unknown
value is; a ValidatingAdmissionPolicy can.
"""

from typing import Any

from heliograph_api import naming

MAX_LEVELS = 12
"""Maps and lists inside each other, `spec` the first of them; what has a field here has 5."""
MAX_ENTRIES = 512
"""Keys of one map, or entries of one list."""

_NAME = f"{naming.PLURAL}.{naming.GROUP}"
_API_VERSION = "admissionregistration.k8s.io/v1"


def bounding_policy() -> list[dict[str, Any]]:
    """Return the ValidatingAdmissionPolicy and its binding as API objects."""
    policy = {
        "apiVersion": _API_VERSION,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": _NAME},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [naming.GROUP],
                        "apiVersions": ["*"],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": [naming.PLURAL],
                    }
                ]
            },
            # What was there before the policy can still be labelled, and deleted whatever finalizers it has.
            "matchConditions": [
                {"name": "changes-spec", "expression": "oldObject == null || object.spec != oldObject.spec"}
            ],
            "validations": [
                {
                    "expression": f"!{_exceeds('object.spec', 1)}",
                    "message": f"spec must not be nested deeper than {MAX_LEVELS} levels, nor have a map or list of "
                    f"more than {MAX_ENTRIES} entries; remove what is not LocalAI's",
                }
            ],
        },
    }
    binding = {
        "apiVersion": _API_VERSION,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": _NAME},
        "spec": {"policyName": _NAME, "validationActions": ["Deny"]},
    }
    return [policy, binding]


def _exceeds(value: str, level: int) -> str:
    """Return in CEL whether a value, at some level, holds too much; without recursion, each level is written out."""
    is_container = f"(type({value}) == map || type({value}) == list)"
    if level > MAX_LEVELS:
        return is_container
    child = f"v{level}"
    children = f"(type({value}) == map ? dyn({value}.map(k, {value}[k])) : dyn({value}))"
    deeper = f"{children}.exists({child}, {_exceeds(child, level + 1)})"
    return f"({is_container} && (size({value}) > {MAX_ENTRIES} || {deeper}))"
