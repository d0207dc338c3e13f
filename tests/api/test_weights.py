from typing import Any

import pytest

from heliograph_api.errors import SpecError
from heliograph_api.manifest import ImageModel
from heliograph_api.sources import ClaimSource, RepositorySource, UrlSource
from heliograph_api.weights import Part, WeightsPlan, folder_name, plan_weights

DIGEST = "0" * 64


def planned(**spec: Any) -> WeightsPlan:
    return plan_weights(ImageModel.from_object({"metadata": {"name": "dream"}, "spec": spec}))


def model(text: str, **spec: Any) -> WeightsPlan:
    return planned(parameters={"model": text}, **spec)


def artifact(repo: str) -> dict[str, Any]:
    return {"source": {"type": "huggingface", "repo": repo}}


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("stabilityai/sdxl-turbo", "model"),
        ("hf://stabilityai/sdxl-turbo@main", "model"),
        ("hf://a/b/folder", "model"),
        ("hf://a/b/c/d.gguf", "model/d.gguf"),
        ("a/b/d.gguf", "model/d.gguf"),
        ("city96/FLUX.1-dev-gguf:Q4_0", "model/FLUX.1-dev-gguf-Q4_0.gguf"),
        ("https://example.org/a/my%20dream.safetensors?download=1", "model/my dream.safetensors"),
        ("oci://r.example.org/models/dream:v1", "model"),
        ("ocifile://r.example.org/models/dream:v1", "model/dream"),
        ("s3://bucket/flux/dev.gguf", "model/dev.gguf"),
        ("s3://bucket/flux/", "model"),
        ("file:///models/dream.safetensors", "model/dream.safetensors"),
    ],
)
def test_the_place_of_the_model(text: str, target: str) -> None:
    plan = model(text)

    (part,) = plan.parts
    assert (part.field, part.target) == ("spec.parameters.model", target)
    assert plan.local_spec["parameters"] == {"model": target}


def test_a_path_in_a_claim_is_no_repository() -> None:
    plan = model("tiny-model/model", serving={"cache": {"existingClaim": "models"}})

    assert plan.parts == ()
    assert plan.local_spec["parameters"]["model"] == "tiny-model/model"


def test_a_file_without_a_source_is_left_as_it_is() -> None:
    assert model("dream.safetensors").parts == ()


def test_a_claim_as_a_source() -> None:
    plan = model("pvc://weights/flux/dev.gguf")

    assert plan.claim == ClaimSource("weights", "flux/dev.gguf")
    assert plan.parts == ()
    assert plan.local_spec["parameters"]["model"] == "flux/dev.gguf"


def test_files_that_localai_downloads() -> None:
    uri = "huggingface://city96/FLUX.1-dev-gguf/flux1-dev-Q2_K.gguf"
    plan = model(
        "flux/dev.gguf",
        options=["diffusion_model", "vae_path:ae.safetensors"],
        download_files=[
            {"filename": "flux/dev.gguf", "sha256": DIGEST, "uri": uri},
            {"filename": "ae.safetensors", "sha256": "", "uri": "https://example.org/ae.safetensors"},
        ],
    )

    assert plan.parts == (
        Part(
            "spec.download_files[0].uri",
            RepositorySource("huggingface", "city96/FLUX.1-dev-gguf", path="flux1-dev-Q2_K.gguf"),
            "flux/dev.gguf",
            DIGEST,
        ),
        Part("spec.download_files[1].uri", UrlSource("https://example.org/ae.safetensors"), "ae.safetensors"),
    )
    assert plan.local_spec["parameters"]["model"] == "flux/dev.gguf"


def test_a_folder_that_download_files_fill_is_no_repository() -> None:
    files = [{"filename": "a/b/unet.safetensors", "uri": "https://example.org/unet.safetensors"}]

    assert [part.target for part in model("a/b", download_files=files).parts] == ["a/b/unet.safetensors"]


def test_artifacts() -> None:
    encoder = {"type": "huggingface", "repo": "a/encoder", "revision": "v1", "allow_patterns": ["*.safetensors"]}
    plan = planned(
        artifacts=[
            {"source": {"type": "huggingface", "repo": "a/model", "ignore_patterns": ["*.bin"]}},
            {"name": "text_encoder", "target": "companion", "source": encoder},
            {"name": "vae", "target": "companion", "source": {"type": "huggingface", "repo": "a/vae"}},
        ],
        options=["vae:elsewhere"],
    )

    assert [(part.target, part.allow, part.ignore) for part in plan.parts] == [
        ("model", (), ("*.bin",)),
        ("artifacts/text_encoder", ("*.safetensors",), ()),
        ("artifacts/vae", (), ()),
    ]
    assert plan.parts[1].source == RepositorySource("huggingface", "a/encoder", "v1")
    assert plan.local_spec["parameters"]["model"] == "model"
    assert plan.local_spec["options"] == ["vae:elsewhere", "text_encoder:artifacts/text_encoder"]


@pytest.mark.parametrize(
    ("source", "repo", "revision"),
    [
        ({"repo": "hf://a/model"}, "a/model", None),
        ({"repo": "huggingface://a/model@v1"}, "a/model", "v1"),
        ({"repo": "a/model@v1", "revision": "v2"}, "a/model", "v2"),
        ({"repo": "https://huggingface.co/a/model/tree/v1"}, "a/model", "v1"),
    ],
)
def test_the_repository_of_an_artifact_is_written_as_in_localai(
    source: dict[str, str], repo: str, revision: str | None
) -> None:
    plan = planned(artifacts=[{"source": {"type": "huggingface", **source}}])

    assert [part.source for part in plan.parts] == [RepositorySource("huggingface", repo, revision)]


def test_what_lies_beside_the_model() -> None:
    plan = model(
        "a/b",
        diffusers={"control_net": "a/control"},
        lora_adapter="https://example.org/style.safetensors",
        lora_adapters=["local.safetensors", "hf://a/lora/l.safetensors"],
    )

    assert [part.target for part in plan.parts] == [
        "model",
        "control_net",
        "lora_adapter/style.safetensors",
        "lora_adapters/1/l.safetensors",
    ]
    assert plan.local_spec["diffusers"]["control_net"] == "control_net"
    assert plan.local_spec["lora_adapter"] == "lora_adapter/style.safetensors"
    assert plan.local_spec["lora_adapters"] == ["local.safetensors", "lora_adapters/1/l.safetensors"]


def test_options_that_name_sources() -> None:
    plan = model("a/b:Q4_0", options=["vae_path:hf://a/b/ae.safetensors", "clip_l_path:clip.safetensors"])

    assert plan.parts[1].target == "options/vae_path/ae.safetensors"
    assert plan.local_spec["options"] == ["vae_path:options/vae_path/ae.safetensors", "clip_l_path:clip.safetensors"]


def test_what_is_present_is_not_fetched() -> None:
    files = [{"filename": "vae.gguf", "uri": "hf://a/b/vae.gguf"}, {"filename": "clip.gguf", "uri": "hf://a/b/c.gguf"}]
    manifest = {
        "metadata": {"name": "dream"},
        "spec": {"parameters": {"model": "a/b"}, "diffusers": {"control_net": "a/c"}, "download_files": files},
    }
    plan = plan_weights(ImageModel.from_object(manifest), present={"a/b", "clip.gguf"}.__contains__, root="below/it")

    assert [part.target for part in plan.parts] == ["control_net", "vae.gguf"]
    assert plan.local_spec["parameters"] == {"model": "a/b"}
    assert plan.local_spec["diffusers"] == {"control_net": "below/it/control_net"}


def test_a_folder_is_named_after_what_is_in_it() -> None:
    def name(**spec: Any) -> str:
        model = ImageModel.from_object({"metadata": {"name": "dream"}, "spec": spec})
        return folder_name(model, plan_weights(model))

    first = name(parameters={"model": "a/b"}, step=20)

    assert first.startswith("dream-")
    assert name(parameters={"model": "a/b"}, step=30) == first
    assert len({first, name(parameters={"model": "a/b@v2"}), name(parameters={"model": "a/b"}, f16=True)}) == 3


def test_the_written_spec_stays_as_it_is() -> None:
    spec = {"parameters": {"model": "a/b"}, "diffusers": {"control_net": "a/control"}}
    plan_weights(ImageModel.from_object({"metadata": {"name": "dream"}, "spec": spec}))

    assert spec == {"parameters": {"model": "a/b"}, "diffusers": {"control_net": "a/control"}}


@pytest.mark.parametrize(
    ("spec", "field", "told"),
    [
        ({"parameters": {"model": "ollama://sdxl"}}, "spec.parameters.model", "language models"),
        (
            {"parameters": {"model": "pvc://a/b"}, "serving": {"cache": {"existingClaim": "c"}}},
            "spec.parameters.model",
            "keep one",
        ),
        (
            {"parameters": {"model": "a/b"}, "lora_adapter": "pvc://c/l.safetensors"},
            "spec.lora_adapter",
            "parameters.model alone",
        ),
        (
            {"parameters": {"model": "d"}, "download_files": [{"filename": "d", "uri": "somewhere"}]},
            "spec.download_files[0].uri",
            "names no source",
        ),
        (
            {"parameters": {"model": "d"}, "download_files": [{"filename": "d", "uri": "hf://a/b"}]},
            "spec.download_files[0].uri",
            "name the file",
        ),
        (
            {
                "parameters": {"model": "d"},
                "download_files": [
                    {"filename": "d", "uri": "https://example.org/d"},
                    {"filename": "d/e", "uri": "https://example.org/e"},
                ],
            },
            "spec.download_files[1].uri",
            "rename one",
        ),
        (
            {
                "parameters": {"model": "a/b/c.gguf"},
                "download_files": [{"filename": "model/c.gguf", "uri": "https://example.org/c"}],
            },
            "spec.download_files[0].uri",
            "rename one",
        ),
        (
            {"parameters": {"model": "a/b"}, "options": ["../../vae_path:hf://a/b/vae.gguf"]},
            "spec.options[0]",
            "another name",
        ),
        *(
            (
                {"artifacts": [artifact("a/b"), {"name": "vae", "target": "companion", **artifact(repo)}]},
                "spec.artifacts[1].source.repo",
                told,
            )
            for repo, told in {
                "a": "write OWNER/NAME or hf://OWNER/NAME",
                "a/b/c.gguf": "choose files with allow_patterns",
                "hf://a/b:Q4_0": "choose files with allow_patterns",
                "modelscope://a/b": "no whole repository of Hugging Face",
                "https://example.org/a/b": "no whole repository of Hugging Face",
                "hf://a": "a repository is written OWNER/NAME",
            }.items()
        ),
        ({"parameters": {"model": "https://example.org/%2e%2e%2f.."}}, "spec.parameters.model", "another name"),
        ({"parameters": {"model": "https://example.org/a%00b"}}, "spec.parameters.model", "another name"),
        (
            {
                "parameters": {"model": "d"},
                "download_files": [{"filename": ".heliograph.json", "uri": "https://example.org/d"}],
            },
            "spec.download_files[0].uri",
            "another name",
        ),
    ],
)
def test_refusals(spec: dict[str, Any], field: str, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        planned(**spec)
    assert caught.value.path == field
    assert told in caught.value.problem
