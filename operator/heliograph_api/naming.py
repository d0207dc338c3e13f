"""Names of the API group, labels and child objects.

Kubernetes limits labels to 63 characters and Service names to DNS-1035, while an ImageModel may be called anything that
is a DNS subdomain (``flux.1-dev-ggml``). Hence children carry a slug plus a hash of the full name.
"""

import hashlib
import re
from functools import lru_cache

GROUP = "heliograph.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "ImageModel"
PLURAL = "imagemodels"
SINGULAR = "imagemodel"
SHORT_NAMES = ("im",)
FIELD_MANAGER = "heliograph-operator"

MODEL_LABEL = f"{GROUP}/model"
"""Label on every child; its value is `child_name` of the ImageModel."""
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "heliograph"
COMPONENT_LABEL = "app.kubernetes.io/component"
NAME_LABEL = "app.kubernetes.io/name"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
"""Label by which an EndpointSlice names its Service (k8s.io/api/discovery/v1)."""

RUNTIME_PORT = 8080
RUNTIME_PORT_NAME = "http"
FETCHER_PORT = 8080
"""Port on which a fetcher answers how far it is."""

_HASH_LENGTH = 8
_SLUG_LENGTH = 40


@lru_cache(maxsize=4096)
def child_name(name: str) -> str:
    """Return the name of an ImageModel's children: a DNS-1035 slug of at most 40 characters, a dash and 8 hex digits.

    The hash is of the whole name, so `a.b` and `a-b` never share a child.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not slug[:1].isalpha():
        slug = f"m-{slug}"
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{slug[:_SLUG_LENGTH].rstrip('-')}-{digest}"


def selector_labels(name: str) -> dict[str, str]:
    """Return the immutable labels by which Service, Deployment and PodDisruptionBudget select a model's pods."""
    return {NAME_LABEL: "heliograph-runtime", MODEL_LABEL: child_name(name)}


def child_labels(name: str) -> dict[str, str]:
    """Return the labels of every child of an ImageModel, `selector_labels` among them."""
    return {**selector_labels(name), COMPONENT_LABEL: "runtime", MANAGED_BY_LABEL: MANAGED_BY}


def fetcher_labels(name: str) -> dict[str, str]:
    """Return the labels of what fetches a model's weights; no selector of its runtime's matches them."""
    return {**child_labels(name), NAME_LABEL: "heliograph-fetcher", COMPONENT_LABEL: "fetcher"}


def owner_reference(name: str, uid: str) -> dict[str, object]:
    """Return the controller reference that lets garbage collection remove the children of an ImageModel."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
