"""The catalogue: helm renders each of its models, the API server takes it, and the parts that serve it know it."""

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import pytest
import yaml

from cluster.control_plane import ControlPlane
from heliograph_api.advice import spec_warnings
from heliograph_api.engine import choose_engine
from heliograph_api.manifest import ImageModel
from heliograph_api.sdcpp_options import REFUSED
from heliograph_api.sources import RepositorySource
from heliograph_api.weights import plan_weights
from heliograph_operator.plan.children import plan_children
from heliograph_operator.settings import OperatorSettings, Profile
from heliograph_runtime.engines.diffusers.pipelines import find_pipeline

CHART = Path(__file__).resolve().parents[2] / "charts" / "heliograph-models"
ENTRY_KEYS = {"description", "license", "card", "gated", "parametersB", "downloadGB", "gpuGiB", "names", "spec"}
SETTINGS = OperatorSettings(gpu_profile=Profile(gpu_resource="nvidia.com/gpu"))

GPUSTACK = (
    "stabilityai/stable-diffusion-3.5-large-turbo", "stabilityai/stable-diffusion-3.5-large",
    "stabilityai/stable-diffusion-3.5-medium", "stabilityai/stable-diffusion-3-medium", "TencentARC/FLUX.1-mini",
    "Freepik/FLUX.1-lite", "black-forest-labs/FLUX.1-dev", "black-forest-labs/FLUX.1-schnell", "stabilityai/sdxl-turbo",
    "stabilityai/stable-diffusion-xl-refiner-1.0", "stabilityai/stable-diffusion-xl-base-1.0", "stabilityai/sd-turbo",
    "stabilityai/stable-diffusion-2-1", "stable-diffusion-v1-5/stable-diffusion-v1-5", "CompVis/stable-diffusion-v1-4",
)  # fmt: skip
"""The models of GPUStack's docs/user-guide/image-generation-apis.md (v0.6 and v0.7)."""
GPUSTACK_CATALOG = (
    "FLUX.1-dev", "FLUX.2-dev", "FLUX.2-klein-4B", "FLUX.2-klein-9B", "Qwen-Image", "Qwen-Image-2512",
    "Qwen-Image-Edit", "Z-Image", "Z-Image-Turbo", "BAGEL-7B-MoT", "GLM-Image", "NextStep-1.1", "ERNIE-Image",
)  # fmt: skip
"""The models for pictures of its gpustack/assets/model-catalog.yaml (v2.2)."""
LOCALAI = (
    "chroma1-hd", "stable-diffusion-x4-upscaler", "z-image-diffusers", "z-image-turbo-diffusers", "qwen-image",
    "qwen-image-edit", "qwen-image-edit-2509", "dreamshaper", "stable-diffusion-3-medium", "flux.1-dev",
    "flux.1-schnell", "flux.1dev-abliteratedv2", "vllm-omni-z-image-turbo", "sd-1.5-ggml", "sd-3.5-medium-ggml",
    "sd-3.5-large-ggml", "flux.1-dev-ggml", "flux.1-dev-ggml-q8_0", "flux.1-dev-ggml-abliterated-v2-q8_0",
    "flux.1-krea-dev-ggml", "flux.1-krea-dev-ggml-q8_0", "flux.1-kontext-dev", "flux.2-dev", "flux.2-klein-4b",
    "flux.2-klein-9b", "Z-Image-Turbo", "ideogram-4-iq4nl-ggml", "ideogram-4-q8_0-ggml", "longcat-video",
    "longcat-video-avatar-1.5", "vllm-omni-wan2.2-t2v", "vllm-omni-wan2.2-i2v", "minimax-h3-fl2va-q4",
    "minimax-h3-ref2va-q4", "ltx-2", "ltx-2.3", "ltx-2.3-22b-dev-ggml", "ltx-2.3-22b-dev-ggml-q4_k_m",
    "ltx-2.3-22b-dev-ggml-q8_0", "ltx-2.3-22b-distilled-ggml", "ltx-2.3-22b-distilled-ggml-q4_k_m",
    "ltx-2.3-22b-distilled-ggml-q8_0", "wan-2.1-t2v-1.3b-ggml", "wan-2.1-i2v-14b-480p-ggml",
    "wan-2.1-i2v-14b-720p-ggml", "wan-2.1-flf2v-14b-720p-ggml",
)  # fmt: skip
"""The models for pictures and clips of LocalAI's gallery/index.yaml (4.9)."""
LOCALAI_DOCS = (
    "stablediffusion", "animagine-xl", "stablediffusion-edit", "stablediffusion-depth", "img2vid", "txt2vid"
)  # fmt: skip
"""Those of the examples in LocalAI's docs/content/features/image-generation.md."""

Entry = dict[str, Any]


@cache
def read(file: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHART / "files" / file).read_text())
    return found


def catalogue() -> dict[str, Entry]:
    return {name: entry for path in (CHART / "files" / "models").glob("*.yaml") for name, entry in read(path).items()}


CATALOGUE = catalogue()
NAMES = sorted(CATALOGUE)
Render = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def render(helm: Callable[..., str]) -> Render:
    def run(*options: str, namespace: str = "default") -> list[dict[str, Any]]:
        text = helm("template", "models", CHART, "--namespace", namespace, *options)
        return [document for document in yaml.safe_load_all(text) if document]

    return run


@pytest.fixture(scope="module")
def rendered(render: Render) -> dict[str, dict[str, Any]]:
    """All models of the catalogue as the chart makes them, by name."""
    objects = render("--set", f"enabled={{{','.join(NAMES)}}}", "--set", "hfToken.secret=hub")
    return {item["metadata"]["name"]: item for item in objects}


def model(name: str) -> ImageModel:
    return ImageModel.from_object({"metadata": {"name": name, "namespace": "art"}, "spec": CATALOGUE[name]["spec"]})


def test_lint_finds_nothing(helm: Callable[..., str]) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART)


def test_the_files_have_no_model_twice() -> None:
    assert sum(len(read(path)) for path in (CHART / "files" / "models").glob("*.yaml")) == len(CATALOGUE) >= 60
    lines = "".join(path.read_text() for path in (CHART / "files" / "models").glob("*.yaml"))
    assert len(re.findall(r"^[a-z0-9][^:\s]*:$", lines, flags=re.MULTILINE)) == len(CATALOGUE)


def test_no_two_models_answer_to_one_name_or_are_the_same() -> None:
    routes = [route for name in NAMES for route in model(name).routes]
    assert sorted(set(routes)) == sorted(routes)
    specs = [json.dumps({**CATALOGUE[name]["spec"], "name": ""}, sort_keys=True) for name in NAMES]
    assert len(set(specs)) == len(specs)


@pytest.mark.parametrize("named", sorted({*GPUSTACK, *GPUSTACK_CATALOG, *LOCALAI, *LOCALAI_DOCS}))
def test_every_model_that_others_name_is_there_or_left_out_with_a_reason(named: str) -> None:
    holders = [name for name in NAMES if named in CATALOGUE[name].get("names", ())]
    assert len(holders) + (named in read("left-out.yaml")) == 1


def test_gpustacks_list_is_there_whole() -> None:
    assert not {*GPUSTACK} & read("left-out.yaml").keys()


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_has_what_users_need_to_know(name: str) -> None:
    entry = CATALOGUE[name]
    assert {"description", "license", "card", "spec"} <= entry.keys() <= ENTRY_KEYS
    assert entry["license"] in {*read("licenses.yaml"), "other", "unknown"}
    assert entry["card"].startswith("https://")
    assert all(entry.get(key, 1) > 0 for key in ("parametersB", "downloadGB", "gpuGiB"))
    # Made for `--set models.NAME.enabled=true`, where a dot would part the name.
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)


def test_few_licences_are_unknown() -> None:
    assert sum(CATALOGUE[name]["license"] == "unknown" for name in NAMES) <= 5


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_is_planned_without_a_complaint(name: str) -> None:
    planned = model(name)
    assert plan_children(model=planned, settings=SETTINGS)
    assert spec_warnings(planned.raw_spec, planned.spec) == []


@pytest.mark.parametrize("name", NAMES)
def test_an_entrys_weights_come_from_repositories_of_the_hub(name: str) -> None:
    planned = model(name)
    weights = plan_weights(planned)
    places = [f"{part.target}/" for part in weights.parts]
    assert weights.parts
    assert all(isinstance(part.source, RepositorySource) for part in weights.parts)
    paths = [value for key, _, value in (option.partition(":") for option in weights.local_spec.get("options", ()))
             if key.endswith("_path")]  # fmt: skip
    for path in (weights.local_spec["parameters"]["model"], *paths):
        assert any(f"{path}/".startswith(place) for place in places), path


@pytest.mark.parametrize("name", [name for name in NAMES if choose_engine(model(name).spec).name == "diffusers"])
def test_the_pipeline_of_an_entry_is_one_that_the_engine_runs(name: str) -> None:
    pipeline = CATALOGUE[name]["spec"]["diffusers"]["pipeline_type"]
    assert pipeline in dir(diffusers)
    assert find_pipeline(pipeline, named_by_files=pipeline).__name__ == pipeline


def test_no_entry_has_an_option_that_stable_diffusion_cpp_refuses() -> None:
    options = {option.partition(":")[0] for name in NAMES for option in CATALOGUE[name]["spec"].get("options", ())}
    assert not options & REFUSED.keys()


def test_each_model_is_rendered_with_its_licence(rendered: dict[str, dict[str, Any]]) -> None:
    assert sorted(rendered) == NAMES
    for name, item in rendered.items():
        annotations = item["metadata"]["annotations"]
        assert annotations["heliograph.dev/license"] == CATALOGUE[name]["license"]
        assert annotations["heliograph.dev/license-url"].startswith("https://")
        rest = {key: value for key, value in item["spec"].items() if key not in {"description", "serving"}}
        assert rest == CATALOGUE[name]["spec"]
        gated = CATALOGUE[name].get("gated", False)
        assert ("hfTokenSecretRef" in item["spec"].get("serving", {})) == gated


def test_the_api_server_takes_every_model(
    imagemodels: ControlPlane, namespace: str, rendered: dict[str, dict[str, Any]]
) -> None:
    items = [{**item, "metadata": {**item["metadata"], "namespace": namespace}} for item in rendered.values()]
    bundle = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    answer = imagemodels.kubectl("create", "--dry-run=server", "--validate=strict", "--filename", "-", input=bundle)
    assert answer.stdout.count("created") == len(items)


def test_nothing_is_rendered_unless_it_is_turned_on(render: Render) -> None:
    assert render() == []


def test_a_model_is_changed_by_its_own_values_and_by_those_of_all(render: Render) -> None:
    (turbo, xl) = render(
        *("--set", "enabled={sdxl-turbo,sd-turbo}", "--set", "models.sd-turbo.enabled=false"),
        *("--set", "models.stable-diffusion-xl.enabled=true", "--set", "spec.serving.profile=all"),
        *("--set", "models.sdxl-turbo.spec.serving.profile=own", "--set", "models.sdxl-turbo.spec.step=1"),
    )
    assert [turbo["metadata"]["name"], xl["metadata"]["name"]] == ["sdxl-turbo", "stable-diffusion-xl"]
    assert turbo["spec"]["serving"] == {"profile": "own"}
    assert turbo["spec"]["step"] == 1
    assert turbo["spec"]["parameters"] == CATALOGUE["sdxl-turbo"]["spec"]["parameters"]
    assert xl["spec"]["serving"] == {"profile": "all"}


def test_the_volume_of_every_model_holds_its_download(rendered: dict[str, dict[str, Any]]) -> None:
    larger = set()
    for name, item in rendered.items():
        made = ImageModel.from_object({**item, "metadata": {"name": name, "namespace": "art"}})
        (claim,) = (it for it in plan_children(model=made, settings=SETTINGS) if it["kind"] == "PersistentVolumeClaim")
        size = claim["spec"]["resources"]["requests"]["storage"]
        assert int(size.removesuffix("Gi")) * 2**30 > CATALOGUE[name].get("downloadGB", 0) * 1.15e9, name
        larger |= {name} if size != SETTINGS.cache_size else set()
    assert larger == {name for name in NAMES if CATALOGUE[name].get("downloadGB", 0) > 44.7}
    assert len(larger) >= 9


@pytest.mark.parametrize(
    ("options", "cache"),
    [
        ("spec.step=9", {"size": "65Gi"}),
        ("spec.serving.cache.mode=ephemeral", {"size": "65Gi", "mode": "ephemeral"}),
        ("spec.serving.cache.size=90Gi", {"size": "90Gi"}),
        ("weights.cache.size=100Gi", None),
        ("weights.cache.mode=sharedRWX", None),
        ("spec.serving.cache.mode=sharedRWX", {"mode": "sharedRWX"}),
        ("weights.cache.mode=sharedRWX,spec.serving.cache.mode=perModel", {"size": "65Gi", "mode": "perModel"}),
        ("spec.serving.cache.existingClaim=kept", {"existingClaim": "kept"}),
    ],
)
def test_a_larger_volume_is_asked_for_where_there_is_one_of_the_models_own(
    render: Render, options: str, cache: dict[str, str] | None
) -> None:
    (made,) = render("--set", "enabled={qwen-image}", "--set", options)
    assert made["spec"].get("serving", {}).get("cache") == cache


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--set", "weights.cache.size=50G"), "weights.cache.size: Does not match pattern"),
        (("--set", "weights.cache.mode=shared"), "weights.cache.mode must be one of the following"),
        (("--set", "enabled={sdxl-trubo}"), "sdxl-trubo is no model of the catalogue"),
        (("--set", "models.sdxl-trubo.enabled=true"), "sdxl-trubo is no model of the catalogue"),
        (("--set", "models.sdxl-turbo.enabeld=true"), "enabeld"),
        (("--set", "enabled={flux-1-dev}"), "flux-1-dev has a gated repository: accept its licence on https://"),
    ],
)
def test_values_that_cannot_work_are_refused(render: Render, options: tuple[str, ...], problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        render(*options)


@pytest.mark.parametrize(
    ("option", "serving"),
    [
        ("hfTokenSecretRef.name=mine", {"hfTokenSecretRef": {"name": "mine"}}),
        ("cache.existingClaim=weights", {"cache": {"existingClaim": "weights"}}),
    ],
    ids=["token", "claim"],
)
def test_a_gated_model_goes_with_a_token_or_a_claim_of_its_own(
    render: Render, option: str, serving: dict[str, Any]
) -> None:
    (made,) = render("--set", "enabled={flux-1-dev}", "--set", f"models.flux-1-dev.spec.serving.{option}")
    assert made["spec"]["serving"] == serving


def test_the_notes_name_the_licences(imagemodels: ControlPlane, namespace: str, helm: Callable[..., str]) -> None:
    place = ("--namespace", namespace, "--kubeconfig", str(imagemodels.kubeconfig()), "--dry-run=client")
    notes = helm("install", "models", CHART, "--set", "enabled={sdxl-turbo}", *place)
    assert "sdxl-turbo: sai-nc-community (https://huggingface.co/stabilityai/sdxl-turbo)" in notes
    assert f"the {len(CATALOGUE)} of the catalogue" in helm("install", "models", CHART, *place)
