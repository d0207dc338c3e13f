import pytest

from heliograph_api.errors import SpecError
from heliograph_api.sources import (
    BucketSource,
    ClaimSource,
    LocalSource,
    RegistrySource,
    RepositorySource,
    Source,
    UrlSource,
    parse_repository,
    parse_source,
)

DIGEST = "sha256:" + "0" * 64


def hub(repo: str, revision: str | None = None, path: str | None = None, quantization: str | None = None) -> Source:
    return RepositorySource("huggingface", repo, revision, path, quantization)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("hf://stabilityai/sdxl-turbo", hub("stabilityai/sdxl-turbo")),
        ("huggingface://stabilityai/sdxl-turbo", hub("stabilityai/sdxl-turbo")),
        ("HF://stabilityai/sdxl-turbo", hub("stabilityai/sdxl-turbo")),
        ("hf.co/stabilityai/sdxl-turbo", hub("stabilityai/sdxl-turbo")),
        ("hf://a/b@v1.0", hub("a/b", "v1.0")),
        ("hf://a/b/c/d.gguf", hub("a/b", path="c/d.gguf")),
        ("huggingface://a/b/d.gguf@main", hub("a/b", "main", "d.gguf")),
        ("huggingface://a/b@main/d.gguf", hub("a/b", "main", "d.gguf")),
        ("hf://a/b:Q4_0", hub("a/b", quantization="Q4_0")),
        ("hf://a/b@main:Q4_K_M", hub("a/b", "main", quantization="Q4_K_M")),
        ("hf://a/b/folder/", hub("a/b", path="folder")),
        ("https://huggingface.co/a/b", hub("a/b")),
        ("https://huggingface.co/a/b/resolve/main/c/d.gguf", hub("a/b", "main", "c/d.gguf")),
        ("https://huggingface.co/a/b/resolve/main/d.gguf?download=true", hub("a/b", "main", "d.gguf")),
        ("https://huggingface.co/a/b/blob/refs%2Fpr%2F1/d.gguf", hub("a/b", "refs/pr/1", "d.gguf")),
        ("https://huggingface.co/a/b/tree/main", hub("a/b", "main")),
        ("modelscope://a/b", RepositorySource("modelscope", "a/b")),
        ("https://example.org/a/dream.safetensors", UrlSource("https://example.org/a/dream.safetensors")),
        ("http://example.org:8000/a?b=c", UrlSource("http://example.org:8000/a?b=c")),
        ("github:a/b/c/d.yaml", UrlSource("https://raw.githubusercontent.com/a/b/main/c/d.yaml")),
        ("github:a/b/d.yaml@v1", UrlSource("https://raw.githubusercontent.com/a/b/v1/d.yaml")),
        ("github://a/b/d.yaml", UrlSource("https://raw.githubusercontent.com/a/b/main/d.yaml")),
        ("oci://registry.example.org/models/dream:v1", RegistrySource("registry.example.org", "models/dream", "v1")),
        ("oci://localhost:5000/dream", RegistrySource("localhost:5000", "dream", "latest")),
        (f"oci://r.example.org/dream@{DIGEST}", RegistrySource("r.example.org", "dream", DIGEST)),
        (f"oci://r.example.org/dream:v1@{DIGEST}", RegistrySource("r.example.org", "dream", DIGEST)),
        ("ocifile://r.example.org/dream:v1", RegistrySource("r.example.org", "dream", "v1", one_file=True)),
        ("s3://models/flux/dev.gguf", BucketSource("models", "flux/dev.gguf")),
        ("s3://models/flux/", BucketSource("models", "flux/")),
        ("pvc://weights/flux/dev.gguf", ClaimSource("weights", "flux/dev.gguf")),
        ("pvc://weights", ClaimSource("weights", "")),
        ("file:///models/dream.safetensors", LocalSource("/models/dream.safetensors")),
        (" hf://a/b ", hub("a/b")),
    ],
)
def test_sources(text: str, source: Source) -> None:
    assert parse_source(text, field="uri") == source


@pytest.mark.parametrize("text", ["dream.safetensors", "a/b", "a/b/c.gguf", "", "C:/models"])
def test_a_text_without_a_scheme_is_none(text: str) -> None:
    assert parse_source(text, field="uri") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ollama://sdxl", "language models"),
        ("ftp://example.org/a", "write one of hf://"),
        ("hf://onlyowner", "OWNER/NAME"),
        ("hf://a/b@c/d@e", "OWNER/NAME"),
        ("hf://a b/c", "OWNER/NAME"),
        ("https://example.org", "names no file"),
        ("https:///path", "names no file"),
        ("https://name:word@example.org/a", "password"),
        ("https://[::1/a", "is no URL"),
        ("github:a/b", "github:OWNER/NAME/PATH"),
        ("oci://registry.example.org", "oci://HOST/REPOSITORY:TAG"),
        ("oci://r.example.org/dream@sha256:12", "oci://HOST/REPOSITORY:TAG"),
        ("oci://name:word@r.example.org/dream:v1", "oci://HOST/REPOSITORY:TAG"),
        ("oci://r.example.org/../v2/dream:v1", "oci://HOST/REPOSITORY:TAG"),
        ("oci://r.example.org/dream?a=b:v1", "oci://HOST/REPOSITORY:TAG"),
        ("oci://r.example.org/dream:v 1", "oci://HOST/REPOSITORY:TAG"),
        ("s3://a bucket/key", "s3://BUCKET/KEY"),
        ("s3:///key", "s3://BUCKET/KEY"),
        ("pvc:///a", "pvc://CLAIM/PATH"),
        ("pvc://a/../b", "pvc://CLAIM/PATH"),
        ("file://dream.safetensors", "whole path"),
    ],
)
def test_refused_sources(text: str, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_source(text, field="spec.parameters.model")
    assert caught.value.path == "spec.parameters.model"
    assert told in caught.value.problem


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("black-forest-labs/FLUX.1-dev", hub("black-forest-labs/FLUX.1-dev")),
        ("city96/FLUX.1-dev-gguf/flux1-dev-Q2_K.gguf", hub("city96/FLUX.1-dev-gguf", path="flux1-dev-Q2_K.gguf")),
        ("city96/FLUX.1-dev-gguf:Q4_0", hub("city96/FLUX.1-dev-gguf", quantization="Q4_0")),
        ("dream.safetensors", None),
        ("a/b/c@v1@v2", None),
        ("-a/b", None),
    ],
)
def test_repositories_without_a_scheme(text: str, source: Source | None) -> None:
    assert parse_repository(text) == source
