"""LocalAI's models become ImageModels, and what is changed is told."""

from typing import Any

import pytest
import yaml

from heliograph_api.errors import SpecError
from heliograph_api.localai_import import Imported, Placing, foreign_backend, import_model

REPOSITORY = "backend: diffusers\nparameters: {model: owner/name}\n"
LOCAL = "backend: stablediffusion-ggml\nparameters: {model: a.gguf}\ncuda: true\n"


def imported(text: str, **placing: str) -> Imported:
    return import_model(yaml.safe_load(text), default_name="file", placing=Placing(**placing))


def refuse(text: str) -> str:
    with pytest.raises(SpecError) as error:
        imported(text)
    return str(error.value)


def test_a_model_is_taken_word_for_word() -> None:
    text = f"name: dream\nstep: 20\nusage: none\n{REPOSITORY}diffusers: {{cuda: true}}\n"
    made = imported(text)

    assert made.obj == {
        "apiVersion": "heliograph.dev/v1alpha1",
        "kind": "ImageModel",
        "metadata": {"name": "dream"},
        "spec": yaml.safe_load(text),
    }
    assert (made.changes, made.notes) == ([], [])


@pytest.mark.parametrize(
    ("name", "object_name"), [("Flux Dev", "flux-dev"), ("sd_1.5", "sd-1.5"), ("a/b", "a-b"), ("Ü", "model")]
)
def test_a_name_is_made_fit_for_an_object_and_kept_for_requests(name: str, object_name: str) -> None:
    made = imported(f"name: {name}\n{REPOSITORY}")

    assert made.name == object_name
    assert made.obj["spec"]["name"] == name
    (change,) = made.changes
    assert change.startswith(f"metadata.name: '{name}' ")


def test_a_model_without_a_name_keeps_the_id_that_localai_gives_it() -> None:
    made = imported(REPOSITORY)

    assert (made.name, made.obj["spec"]["name"]) == ("file", "owner/name")
    assert made.changes == ["spec.name: a model without a name is called by its parameters.model in LocalAI"]


def test_unknown_keys_and_those_without_effect_are_kept_and_named() -> None:
    made = imported(f"name: a\nstepp: 3\nmmproj: b\ncontext_size: 5\n{REPOSITORY}")

    assert {"stepp": 3, "mmproj": "b", "context_size": 5}.items() <= made.obj["spec"].items()
    assert [note.partition(":")[0] for note in made.notes] == ["spec.stepp", "spec.context_size", "spec.mmproj"]
    assert "did you mean spec.step?" in made.notes[0]


def test_options_without_effect_are_left_out() -> None:
    made = imported(f"name: a\noptions: [stream_layers:true, 'sampler:euler', tae_preview_only]\n{LOCAL}")

    assert made.obj["spec"]["options"] == ["sampler:euler"]
    assert [change.partition(" is ")[0] for change in made.changes] == [
        "spec.options: stream_layers:true",
        "spec.options: tae_preview_only",
    ]


def test_options_of_the_other_engine_are_left_as_they_are() -> None:
    made = imported(
        "name: a\noptions: ['quantization:int8', 'true_cfg_scale:4.0']\nknown_usecases: [image]\n"
        "parameters: {model: owner/name}"
    )

    assert made.obj["spec"]["options"] == ["quantization:int8", "true_cfg_scale:4.0"]
    assert not any("options" in change for change in made.changes)


def test_what_localai_documents_as_equal_or_without_effect_is_followed_as_far_as_it_can_be() -> None:
    options = [
        "backend:clip=cpu,vae=cuda0,diffusion=vulkan0", "params_backend:*=cpu", "params_backend:diffusion=disk",
        "max_vram:-1", "max_vram:cuda0=8", "max_vram:8", "vae_decode_only:true", "vae_decode_only:false",
        "stream_layers:false", "clip_l_pth:clip_l.safetensors", "mtp_path:a.gguf",
    ]  # fmt: skip
    made = imported(f"name: a\noptions: {options}\n{LOCAL}", claim="models")

    assert made.obj["spec"]["options"] == [
        "backend:clip=cpu", "params_backend:*=cpu", "max_vram:8", "vae_decode_only:false", "stream_layers:false",
    ]  # fmt: skip
    assert [change.partition(": ")[2].partition(": ")[0] for change in made.changes[:-1]] == [
        "backend:clip=cpu,vae=cuda0,diffusion=vulkan0 is now backend:clip=cpu",
        "params_backend:diffusion=disk is left out",
        "max_vram:-1 is left out",
        "max_vram:cuda0=8 is left out",
        "vae_decode_only:true is left out",
        "clip_l_pth:clip_l.safetensors is left out",
        "mtp_path:a.gguf is left out",
    ]
    assert made.changes[5].endswith("has no option of this name; did you mean clip_l_path?")
    assert made.notes == []


def test_the_given_document_is_left_as_it_is() -> None:
    raw: dict[str, Any] = yaml.safe_load(f"name: A\noptions: [stream_layers]\n{LOCAL}")
    before = yaml.safe_dump(raw)
    import_model(raw, default_name="file", placing=Placing(profile="gpu", claim="c"))

    assert yaml.safe_dump(raw) == before


def test_digests_are_written_in_lower_case() -> None:
    digest = "AB" * 32
    made = imported(
        f"name: a\n{LOCAL}download_files: [{{filename: a.gguf, uri: 'https://h.test/a.gguf', sha256: {digest}}}]\n"
    )

    assert made.obj["spec"]["download_files"][0]["sha256"] == digest.lower()
    assert (made.changes, made.notes) == (["spec.download_files[0].sha256: in lower case"], [])


def test_the_administrators_namespace_and_profile_are_added() -> None:
    made = imported(f"name: a\n{REPOSITORY}", namespace="art", profile="large", claim="models")

    assert made.obj["metadata"] == {"name": "a", "namespace": "art"}
    assert made.obj["spec"]["serving"] == {"profile": "large"}


def test_a_claim_is_for_models_whose_files_lie_in_the_models_folder() -> None:
    made = imported(f"name: a\n{LOCAL}options: ['vae_path:vae/ae.safetensors']\n", claim="models")

    assert made.obj["spec"]["serving"] == {"cache": {"existingClaim": "models"}}
    assert made.notes == []


def test_the_models_folder_may_be_a_folder_of_its_claim() -> None:
    made = imported(f"name: a\n{LOCAL}", claim="data/localai/models")

    assert made.obj["spec"]["serving"] == {"cache": {"existingClaim": "data", "subPath": "localai/models"}}


def test_files_that_nothing_fetches_are_named() -> None:
    fetched = "download_files: [{filename: vae/ae.safetensors, uri: 'https://h.test/a'}]\n"
    made = imported(
        f"name: a\n{LOCAL}{fetched}lora_adapter: x.gguf\n"
        "options: ['vae_path:vae/ae.safetensors', 'clip_l_path:l.gguf']\n"
    )

    (note,) = made.notes
    assert note.startswith(
        "spec.parameters.model, spec.options[1], spec.lora_adapter: files of LocalAI's models folder"
    )


def test_a_model_of_stable_diffusion_cpp_is_told_of_gpus() -> None:
    (_, note) = imported(f"name: a\n{LOCAL.replace('cuda: true', '')}").notes

    assert note.startswith("spec.cuda: LocalAI draws on whatever device")


def test_vllm_omni_draws_from_the_repositories_of_diffusers() -> None:
    text = "name: a\nbackend: vllm-omni\nknown_usecases: [video]\nparameters: {model: owner/name}\n"

    assert foreign_backend(yaml.safe_load(text)) is None
    assert imported(text).obj["spec"]["backend"] == "diffusers"


def test_a_file_without_a_backend_is_drawn_with_as_in_localai() -> None:
    text = "name: a\nknown_usecases: [image]\nparameters: {model: dream.safetensors}\n"

    assert imported(text).obj["spec"]["backend"] == "stablediffusion-ggml"
    assert "backend" not in imported(text.replace("dream.safetensors", "owner/name")).obj["spec"]
    assert "backend" not in imported(f"{text}diffusers: {{cuda: true}}\n").obj["spec"]


def test_an_alias_is_taken() -> None:
    made = imported("name: B C\nalias: a\n", profile="large")

    assert made.obj["spec"] == {"name": "B C", "alias": "a"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"name: a\nstep: -1\n{REPOSITORY}", "spec.step: must be at least 0"),
        ("name: a\nbackend: difusers\nparameters: {model: o/n}\n", "spec.backend: must be one of"),
        (
            "name: a\nbackend: diffusers\nparameters: {model: /etc/x}\n",
            "spec.parameters.model: must not be an absolute",
        ),
        (
            "name: a\nbackend: diffusers\nparameters: {model: 'ollama://x'}\n",
            "spec.parameters.model: the source ollama://",
        ),
        (
            "name: a\nbackend: diffusers\nparameters: {model: 'file:///x.safetensors'}\n",
            "spec.parameters.model: file:// names a file of LocalAI's machine; copy it to a claim",
        ),
        (
            f"name: a\noptions: ['uncond_diffusion_model_path:b.gguf']\n{LOCAL}",
            "spec.options: uncond_diffusion_model_path is needed, but has no effect here: Ideogram",
        ),
        (
            "name: a\nbackend: longcat-video\nknown_usecases: [FLAG_VIDEO]\nparameters: {model: o/n}\n",
            "spec.backend: longcat-video is no engine here",
        ),
        ("name: a\nbackend: diffusers\n", "spec.parameters: parameters.model is required"),
    ],
)
def test_what_cannot_be_served_is_refused_with_field_and_remedy(text: str, message: str) -> None:
    assert refuse(text).startswith(message)


@pytest.mark.parametrize(
    ("text", "backend"),
    [
        ("backend: llama-cpp", "llama-cpp"),
        ("backend: whisper\nknown_usecases: [transcript]", "whisper"),
        ("backend: vllm-omni\nknown_usecases: [chat, image]", "vllm-omni"),
        ("parameters: {model: chat.gguf}\ncontext_size: 4096", "unknown"),
        ("parameters: {model: a.gguf}\noptions: ['vae_path:b']", None),
        ("parameters: {model: a.gguf}\noptions: [diffusion_model]", None),
        ("parameters: {model: o/n}\ndiffusers: {}", None),
        ("backend: ''\nknown_usecases: [FLAG_IMAGE]", None),
        ("backend: stablediffusion", None),
        ("backend: stable-diffusion-ggml", None),
        ("alias: a", None),
    ],
)
def test_models_that_draw_nothing_are_told_by_what_serves_them(text: str, backend: str | None) -> None:
    assert foreign_backend(yaml.safe_load(text)) == backend
