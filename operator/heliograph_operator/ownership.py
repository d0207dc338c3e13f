"""Whose an object is that bears the name of a child."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

from heliograph_api import naming
from heliograph_operator.resources import Object


class Owner(Enum):
    """Relation of an object to an ImageModel."""

    MODEL = "model"
    """The ImageModel controls it."""
    NOBODY = "nobody"
    """It bears our labels and has no controller, such as after a deletion that left the children behind."""
    PREDECESSOR = "predecessor"
    """A deleted ImageModel of the same name controls it: garbage collection is about to remove it."""
    OTHER = "other"
    """It is someone else's."""


def owner_of(obj: Object, *, name: str, uid: str) -> Owner:
    """Return whose `obj` is, seen from the ImageModel `name` with `uid`."""
    controller = controller_of(obj)
    if controller is None:
        labels = obj["metadata"].get("labels") or {}
        marks = {naming.MANAGED_BY_LABEL: naming.MANAGED_BY, naming.MODEL_LABEL: naming.child_name(name)}
        ours = marks.items() <= labels.items()
        return Owner.NOBODY if ours else Owner.OTHER
    if controller.get("uid") == uid:
        return Owner.MODEL
    same_name = is_image_model(controller) and controller.get("name") == name
    return Owner.PREDECESSOR if same_name else Owner.OTHER


def controller_of(obj: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the owner reference of an object's controller."""
    references = obj["metadata"].get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), None)


def is_image_model(reference: Mapping[str, Any]) -> bool:
    """Return whether an owner reference names an ImageModel, of whatever version."""
    group = str(reference.get("apiVersion", "")).partition("/")[0]
    return group == naming.GROUP and reference.get("kind") == naming.KIND
