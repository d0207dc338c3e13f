"""Which model a name stands for."""

import pytest

from gateway.manifests import image_model
from heliograph_api.manifest import ImageModel
from heliograph_gateway.names import NameIndex, Route


def owner(index: NameIndex, name: str) -> str | None:
    route = index.get(name)
    return route.qualified_name if route else None


def ids(index: NameIndex) -> list[str]:
    return [entry.id for entry in index.listed()]


def test_a_model_has_all_its_names() -> None:
    spec = {"name": "Stability AI/SDXL", "serving": {"aliases": ["dall-e-3", "black-forest-labs/FLUX.1"]}}
    index = NameIndex([Route(image_model("sdxl", **spec))])
    for name in ("default/sdxl", "Stability AI/SDXL", "sdxl", "dall-e-3", "black-forest-labs/FLUX.1"):
        assert owner(index, name) == "default/sdxl"
    assert owner(index, "SDXL") is None
    assert owner(index, "") is None
    assert ids(index) == ["Stability AI/SDXL", "black-forest-labs/FLUX.1", "dall-e-3"]


def test_kinds_of_names_outrank_each_other() -> None:
    index = NameIndex(
        [
            Route(image_model("a", serving={"aliases": ["default/d", "b", "c"]}), created=1),
            Route(image_model("x", name="default/d"), created=1),
            Route(image_model("b", serving={"aliases": ["c"]}), created=2),
            Route(image_model("c", name="public"), created=3),
            Route(image_model("public"), created=4),
            Route(image_model("d"), created=5),
        ]
    )
    assert owner(index, "default/d") == "default/d"
    assert owner(index, "public") == "default/c"
    assert owner(index, "b") == "default/b"
    assert owner(index, "c") == "default/c"


@pytest.mark.parametrize("reverse", [False, True])
def test_a_name_belongs_to_the_oldest_that_claims_it(reverse: bool) -> None:
    routes = [
        Route(image_model("sd", "team-b"), created=20),
        Route(image_model("sd", "team-c"), created=10),
        Route(image_model("sd", "team-a"), created=20),
    ]
    index = NameIndex(routes[::-1] if reverse else routes)
    assert owner(index, "sd") == "team-c/sd"
    assert ids(index) == ["sd", "team-a/sd", "team-b/sd"]
    index = NameIndex([route for route in routes if route.model.namespace != "team-c"])
    assert owner(index, "sd") == "team-a/sd"


def test_a_model_whose_public_id_is_taken_is_listed_by_its_next_name() -> None:
    routes = [Route(image_model("one", name="sdxl"), created=1), Route(image_model("two", name="sdxl"), created=2)]
    assert ids(NameIndex(routes)) == ["sdxl", "two"]


def test_an_alias_model_leads_to_its_target() -> None:
    index = NameIndex(
        [
            Route(image_model("sdxl", name="stabilityai/sdxl"), created=1),
            Route(image_model("gpt-image-1", alias="stabilityai/sdxl", serving={"aliases": ["gpt-image"]}), created=2),
            Route(image_model("by-name", alias="sdxl"), created=3),
            Route(image_model("far", "other", alias="default/sdxl"), created=3),
        ]
    )
    for name in ("gpt-image-1", "gpt-image", "default/gpt-image-1", "by-name", "other/far", "far"):
        assert owner(index, name) == "default/sdxl"
    assert ids(index) == ["by-name", "far", "gpt-image", "gpt-image-1", "stabilityai/sdxl"]


def test_an_alias_model_looks_in_its_own_namespace_first() -> None:
    index = NameIndex(
        [
            Route(image_model("old", "a", name="sdxl"), created=1),
            Route(image_model("young", "b", name="sdxl"), created=2),
            Route(image_model("mine", "b", alias="sdxl"), created=3),
        ]
    )
    assert owner(index, "sdxl") == "a/old"
    assert owner(index, "mine") == "b/young"


def test_aliases_form_no_chains_and_never_dangle() -> None:
    index = NameIndex(
        [
            Route(image_model("sdxl", serving={"aliases": ["extra"]})),
            Route(image_model("first", alias="sdxl")),
            Route(image_model("second", alias="first")),
            Route(image_model("itself", alias="itself")),
            Route(image_model("gone", alias="nothing")),
            Route(image_model("through-alias", alias="extra")),
        ]
    )
    assert owner(index, "first") == "default/sdxl"
    for name in ("second", "itself", "gone", "through-alias", "default/gone"):
        assert owner(index, name) is None
    assert ids(index) == ["extra", "first", "sdxl"]


def test_a_model_outranks_an_older_alias_of_its_namespace() -> None:
    older = [
        Route(image_model("target", "a"), created=1),
        Route(image_model("own", "a", serving={"aliases": ["sd"]}), created=1),
    ]
    assert owner(NameIndex([*older, Route(image_model("sd", "a"), created=2)]), "sd") == "a/sd"
    assert owner(NameIndex([*older, Route(image_model("sd", "b"), created=2)]), "sd") == "a/own"


TAKEOVERS = {
    "as its own name": image_model("gpt-image-1", "b"),
    "as a public id": image_model("x", "b", name="gpt-image-1"),
    "as an alias": image_model("x", "b", serving={"aliases": ["gpt-image-1"]}),
    "as an alias model": image_model("gpt-image-1", "b", alias="b/mine"),
    "as the public id of an alias model": image_model("x", "b", name="gpt-image-1", alias="b/mine"),
}


@pytest.mark.parametrize("impostor", TAKEOVERS.values(), ids=TAKEOVERS)
@pytest.mark.parametrize(
    "holder",
    [
        image_model("gpt-image-1", "z"),
        image_model("holder", "z", name="gpt-image-1"),
        image_model("holder", "z", serving={"aliases": ["gpt-image-1"]}),
        image_model("gpt-image-1", "z", alias="z/target"),
    ],
    ids=["model", "public id", "alias", "alias model"],
)
def test_a_name_in_use_is_not_taken_over_by_another_namespace(holder: ImageModel, impostor: ImageModel) -> None:
    routes = [Route(image_model("target", "z"), created=1), Route(holder, created=2)]
    before = owner(NameIndex(routes), "gpt-image-1")
    assert before in {f"z/{holder.name}", "z/target"}
    index = NameIndex([*routes, Route(image_model("mine", "b"), created=3), Route(impostor, created=4)])
    assert owner(index, "gpt-image-1") == before
    assert [entry.owner for entry in index.listed() if entry.id == "gpt-image-1"] == ["z"]


def test_a_public_id_cannot_pass_for_a_model_of_another_namespace() -> None:
    impostor = Route(image_model("evil", "a", name="prod/sdxl"), created=1)
    own = Route(image_model("other", "prod", name="prod/named"), created=2)
    index = NameIndex([impostor, own])
    assert owner(index, "prod/sdxl") is None
    assert owner(index, "evil") == "a/evil"
    assert owner(index, "prod/named") == "prod/other"
    assert ids(index) == ["evil", "prod/named"]


def test_an_alias_cannot_pass_for_a_model_of_another_namespace() -> None:
    impostor = Route(image_model("evil", "a", serving={"aliases": ["prod/sdxl", "nobody/sdxl"]}), created=1)
    bystander = Route(image_model("other", "prod"), created=2)
    index = NameIndex([impostor, bystander])
    assert owner(index, "prod/sdxl") is None
    assert owner(index, "nobody/sdxl") == "a/evil"
    assert ids(index) == ["evil", "nobody/sdxl", "other"]


def test_disabled_models_keep_their_names_and_are_not_listed() -> None:
    index = NameIndex(
        [
            Route(image_model("off", disabled=True, serving={"aliases": ["nickname"]})),
            Route(image_model("to-off", alias="off")),
            Route(image_model("alias-off", alias="on", disabled=True)),
            Route(image_model("on")),
        ]
    )
    assert owner(index, "off") == owner(index, "nickname") == owner(index, "to-off") == "default/off"
    disabled_alias = index.get("alias-off")
    assert disabled_alias
    assert disabled_alias.disabled
    assert ids(index) == ["on"]


def test_without_namespaces_there_are_no_qualified_names() -> None:
    index = NameIndex([Route(image_model("tiny", "")), Route(image_model("alias", "", alias="tiny"))])
    assert index.get("/tiny") is None
    assert index.get("/alias") is None
    assert ids(index) == ["alias", "tiny"]
    assert index.listed()[0].owner == ""
