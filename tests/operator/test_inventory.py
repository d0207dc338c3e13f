"""What the operator remembers: which key an event concerns, what is gone, whether events still come in."""

from typing import Any

from heliograph_api import naming
from heliograph_operator.inventory import Inventory, Key

TINY = Key("art", "tiny")


def image_model(name: str = "tiny", version: str = "1", namespace: str = "art", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, "resourceVersion": version}, "spec": spec}


def test_a_child_is_mapped_to_its_model_by_label() -> None:
    inventory = Inventory()
    inventory.see(image_model())
    assert inventory.owner_of_child("art", naming.child_name("tiny")) == TINY
    assert inventory.owner_of_child("elsewhere", naming.child_name("tiny")) is None
    assert inventory.forget(TINY)
    assert inventory.owner_of_child("art", naming.child_name("tiny")) is None
    assert not inventory.forget(TINY)


def test_other_names_are_noticed_and_other_changes_are_not() -> None:
    inventory = Inventory()
    assert inventory.see(image_model())
    assert not inventory.see(image_model(version="2", step=3))
    assert inventory.see(image_model(version="3", name_="x", serving={"aliases": ["small"]}))
    assert inventory.see(image_model(version="4", serving={"aliases": ["small", "wee"]}))


def test_malformed_names_do_no_harm() -> None:
    assert Inventory().see(image_model(name_=None, serving={"aliases": [None, 3, "ok"]}))
    assert Inventory().see({"metadata": {"name": "a", "namespace": "b", "resourceVersion": "1"}})


def test_aliases_are_told_by_namespace() -> None:
    inventory = Inventory()
    for obj in (
        image_model(),
        image_model("dall-e", alias="tiny"),
        image_model("dall-e", namespace="b", alias="tiny"),
    ):
        inventory.see(obj)
    assert inventory.aliases("art") == [Key("art", "dall-e")]


def test_a_listing_drops_what_is_gone_from_its_namespaces_alone() -> None:
    inventory = Inventory()
    for obj in (image_model(), image_model("ghost"), image_model("other", namespace="b")):
        inventory.see(obj)
    assert inventory.take_stock([image_model()], namespace="art", now=0.0) == [Key("art", "ghost")]
    assert inventory.take_stock([image_model()], namespace=None, now=0.0) == [Key("b", "other")]
    assert inventory.ready_counts() == {"Unknown": 1}
    inventory.set_ready(TINY, "True")
    inventory.set_ready(Key("art", "ghost"), "True")
    assert inventory.ready_counts() == {"True": 1}


def test_a_change_that_no_event_brings_is_missed_from_its_first_listing_on() -> None:
    inventory = Inventory()
    inventory.take_stock([image_model(version="1")], namespace=None, now=100.0)
    assert inventory.missed_for(105.0) == 5.0
    inventory.take_stock([image_model(version="1")], namespace=None, now=110.0)
    assert inventory.missed_for(115.0) == 15.0
    # Another change: the first one may have been seen in between, so the time starts anew.
    inventory.take_stock([image_model(version="2")], namespace=None, now=120.0)
    assert inventory.missed_for(121.0) == 1.0


def test_nothing_is_missed_once_the_event_came() -> None:
    inventory = Inventory()
    inventory.take_stock([image_model(version="1")], namespace=None, now=0.0)
    inventory.see(image_model(version="1"))
    inventory.take_stock([image_model(version="1")], namespace=None, now=300.0)
    assert inventory.missed_for(900.0) == 0.0
    # An event that is newer than the listing that was already under way.
    inventory.see(image_model(version="3"))
    inventory.take_stock([image_model(version="2")], namespace=None, now=900.0)
    inventory.take_stock([image_model(version="3")], namespace=None, now=1200.0)
    assert inventory.missed_for(2000.0) == 0.0
