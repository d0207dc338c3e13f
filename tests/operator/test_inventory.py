"""What the operator remembers: which key an event concerns, what is gone, whether events still come in."""

from typing import Any

from heliograph_api import naming
from heliograph_operator.inventory import Inventory, Key, target_names

TINY = Key("art", "tiny")


def image_model(metadata_name: str = "tiny", version: str = "1", namespace: str = "art", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": metadata_name, "namespace": namespace, "resourceVersion": version}, "spec": spec}


def test_a_child_is_mapped_to_its_model_by_label() -> None:
    inventory = Inventory()
    inventory.see(image_model())
    assert inventory.owner_of_child("art", naming.child_name("tiny")) == TINY
    assert inventory.owner_of_child("elsewhere", naming.child_name("tiny")) is None
    inventory.forget(TINY)
    assert inventory.owner_of_child("art", naming.child_name("tiny")) is None


def test_other_names_are_noticed_and_other_changes_are_not() -> None:
    inventory = Inventory()
    assert inventory.see(image_model())
    assert not inventory.see(image_model(version="2", step=3, serving={"aliases": ["small"]}))
    assert inventory.see(image_model(version="3", name="The Tiny One"))
    assert inventory.see(image_model(version="4", alias="other"))


def test_what_an_alias_may_point_to() -> None:
    named = {"metadata": {"name": "tiny", "namespace": "art"}, "spec": {"name": "The Tiny One"}}
    assert target_names(named) == ["The Tiny One", "tiny", "art/tiny"]
    assert target_names(image_model(alias="x")) == []
    assert target_names({"metadata": {"name": "a", "namespace": "b"}, "spec": {"name": 3}}) == ["a", "b/a"]
    assert target_names({"metadata": {"name": "a", "namespace": "b"}}) == ["a", "b/a"]


def test_who_shares_a_claim() -> None:
    inventory = Inventory()
    inventory.see(image_model())
    ghost = Key("art", "ghost")
    assert inventory.see_sharers("art", ["tiny"]) == [TINY], "its share may be one that it does not use"
    assert inventory.see_sharers("art", ["tiny"]) == []
    assert [inventory.shares(TINY), inventory.shares(Key("elsewhere", "tiny"))] == [True, False]
    assert inventory.see_sharers("art", ["tiny", "ghost"]) == [ghost]
    assert inventory.see_sharers("art", ["tiny", "ghost"]) == [ghost], "until nothing of it is left"
    assert inventory.see_sharers("art", []) == [ghost, TINY], "as when the claim is gone"
    assert not inventory.shares(TINY)


def test_aliases_are_known() -> None:
    inventory = Inventory()
    for obj in (image_model(), image_model("dall-e", alias="tiny")):
        inventory.see(obj)
    assert inventory.aliases() == [Key("art", "dall-e")]
    inventory.see(image_model("dall-e", version="2"))
    assert inventory.aliases() == []


def test_a_listing_drops_what_is_gone_from_its_namespaces_alone() -> None:
    inventory = Inventory()
    for obj in (image_model(), image_model("ghost"), image_model("other", namespace="b")):
        inventory.see(obj)
    assert inventory.take_stock([image_model()], namespace="art", now=0.0, since=inventory.events) == [
        Key("art", "ghost")
    ]
    assert inventory.take_stock([image_model()], namespace=None, now=0.0, since=inventory.events) == [Key("b", "other")]
    assert dict(inventory.conditions()) == {TINY: {}}
    verdicts = {"Ready": ("True", "Serving")}
    inventory.set_conditions(TINY, verdicts)
    inventory.set_conditions(Key("art", "ghost"), verdicts)
    assert dict(inventory.conditions()) == {TINY: verdicts}


def test_what_an_event_brings_while_it_is_listed_is_newer_than_the_listing() -> None:
    inventory = Inventory()
    for name in ("tiny", "ghost", "gone"):
        inventory.see(image_model(name))
    since = inventory.events
    inventory.see(image_model("new", alias="tiny"))
    inventory.see(image_model(version="3", alias="other"))
    inventory.forget(Key("art", "gone"))
    listed = [image_model(version="2"), image_model("gone")]
    assert inventory.take_stock(listed, namespace=None, now=0.0, since=since) == [Key("art", "ghost")]
    assert set(inventory.aliases()) == {Key("art", "new"), TINY}
    assert inventory.take_stock([], namespace=None, now=300.0, since=inventory.events) == [
        TINY, Key("art", "new"), Key("art", "gone"),
    ]  # fmt: skip


def test_a_change_that_no_event_brings_is_missed_from_its_first_listing_on() -> None:
    inventory = Inventory()
    inventory.take_stock([image_model(version="1")], namespace=None, now=100.0, since=inventory.events)
    assert inventory.missed_for(105.0) == 5.0
    inventory.take_stock([image_model(version="1")], namespace=None, now=110.0, since=inventory.events)
    assert inventory.missed_for(115.0) == 15.0
    # Another change: the first one may have been seen in between, so the time starts anew.
    inventory.take_stock([image_model(version="2")], namespace=None, now=120.0, since=inventory.events)
    assert inventory.missed_for(121.0) == 1.0


def test_an_event_after_the_listing_ends_what_was_missed_at_once() -> None:
    """A watch begins after the first listing, and the next one comes only after minutes."""
    inventory = Inventory()
    inventory.take_stock([image_model(version="1")], namespace=None, now=0.0, since=inventory.events)
    inventory.see(image_model(version="1"))
    assert inventory.missed_for(200.0) == 0.0
    inventory.take_stock([image_model(version="2")], namespace=None, now=300.0, since=inventory.events)
    inventory.see(image_model(version="10"))
    assert inventory.missed_for(500.0) == 0.0
    # A listing that was under way when the event came.
    inventory.take_stock([image_model(version="9")], namespace=None, now=600.0, since=inventory.events)
    assert inventory.missed_for(800.0) == 0.0


def test_nothing_is_missed_once_the_event_came() -> None:
    inventory = Inventory()
    inventory.take_stock([image_model(version="1")], namespace=None, now=0.0, since=inventory.events)
    inventory.see(image_model(version="1"))
    inventory.take_stock([image_model(version="1")], namespace=None, now=300.0, since=inventory.events)
    assert inventory.missed_for(900.0) == 0.0
    # An event that is newer than the listing that was already under way.
    inventory.see(image_model(version="3"))
    inventory.take_stock([image_model(version="2")], namespace=None, now=900.0, since=inventory.events)
    inventory.take_stock([image_model(version="3")], namespace=None, now=1200.0, since=inventory.events)
    assert inventory.missed_for(2000.0) == 0.0
