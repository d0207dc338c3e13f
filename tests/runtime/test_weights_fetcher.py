import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliograph_api.sources import RepositorySource, UrlSource
from heliograph_api.weights import Part
from heliograph_runtime.weights.errors import FetchError
from heliograph_runtime.weights.fetcher import Fetcher
from heliograph_runtime.weights.finding import Access
from heliograph_runtime.weights.progress import Progress
from heliograph_runtime.weights.volume import Receipt, Volume
from runtime.file_host import FileHost, file_host
from runtime.hub_host import add_repository

FIELD = "spec.parameters.model"
PIPELINE = {
    "model_index.json": json.dumps(
        {
            "_class_name": "StableDiffusionPipeline",
            "unet": ["diffusers", "U"],
            "vae": ["diffusers", "V"],
            "x": [None, None],
        }
    ).encode(),
    "unet/config.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors": b"unet" * 100,
    "unet/diffusion_pytorch_model.fp16.safetensors": b"half" * 50,
    "unet/diffusion_pytorch_model.bin": b"pickle",
    "vae/config.json": b"{ }",
    "vae/diffusion_pytorch_model.safetensors": b"vae" * 100,
    "sd_1.safetensors": b"all in one" * 1000,
    "README.md": b"# A model",
    ".gitattributes": b"",
}
GGUFS = {"flux-Q4_0.gguf": b"four", "flux-Q8_0.gguf": b"eight", "README.md": b"#"}


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileHost]:
    # The other tests of the runtime must ask no hub.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with file_host() as running:
        yield running


@pytest.fixture
def fetcher(host: FileHost, tmp_path: Path) -> Iterator[Fetcher]:
    opened = Fetcher(Volume(tmp_path), Access(hub_endpoint=host.url("")))
    yield opened
    opened.close()


def part(
    repo: str = "a/b", *, target: str = "model", field: str = FIELD, sha256: str | None = None, **source: str
) -> Part:
    return Part(field, RepositorySource("huggingface", repo, **source), target, sha256)


def fetch(fetcher: Fetcher, *parts: Part, half: bool = False, name: str = "dream") -> Receipt:
    return fetcher.fetch(name, parts, half=half, progress=Progress())


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != ".heliograph.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def refused(fetcher: Fetcher, *parts: Part) -> FetchError:
    with pytest.raises(FetchError) as caught:
        fetch(fetcher, *parts)
    return caught.value


@pytest.mark.parametrize(
    ("half", "unet"),
    [(False, "unet/diffusion_pytorch_model.safetensors"), (True, "unet/diffusion_pytorch_model.fp16.safetensors")],
)
def test_a_pipeline(fetcher: Fetcher, host: FileHost, tmp_path: Path, half: bool, unet: str) -> None:
    commit = add_repository(host, "a/b", PIPELINE)

    receipt = fetch(fetcher, part(), half=half)

    wanted = [
        "model_index.json",
        "unet/config.json",
        unet,
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    assert files(tmp_path / "models" / "dream") == {f"model/{path}": PIPELINE[path] for path in wanted}
    assert receipt.revisions == {FIELD: commit}
    assert receipt.bytes == sum(len(PIPELINE[path]) for path in wanted)
    assert receipt.files[f"model/{unet}"] == hashlib.sha256(PIPELINE[unet]).hexdigest()


def test_the_parts_of_a_model(fetcher: Fetcher, host: FileHost, tmp_path: Path) -> None:
    add_repository(host, "a/gguf", GGUFS)
    host.files["/ae.safetensors"] = b"ae"
    parts = [
        part("a/gguf", target="model/flux.gguf", quantization="q8_0"),
        Part("spec.options[0]", UrlSource(host.url("/ae.safetensors")), "ae.safetensors"),
    ]

    fetch(fetcher, *parts)

    assert files(tmp_path / "models" / "dream") == {"model/flux.gguf": b"eight", "ae.safetensors": b"ae"}


def test_a_folder_and_a_file_of_a_repository(fetcher: Fetcher, host: FileHost, tmp_path: Path) -> None:
    add_repository(host, "a/b", {"x/model.safetensors": b"x", "x/config.json": b"{}", "y.safetensors": b"y"})

    fetch(fetcher, part(path="x"), part(path="y.safetensors", target="lora.safetensors", field="spec.lora_adapter"))

    assert files(tmp_path / "models" / "dream") == {
        "model/model.safetensors": b"x",
        "model/config.json": b"{}",
        "lora.safetensors": b"y",
    }


def test_a_part_of_a_pipeline_alone(fetcher: Fetcher, host: FileHost, tmp_path: Path) -> None:
    """As ControlNets are published."""
    wanted = {"config.json": b"{}", "diffusion_pytorch_model.safetensors": b"c" * 100}
    others = {"diffusion_pytorch_model.fp16.safetensors": b"h", "diffusion_pytorch_model.bin": b"p", "docs/x.json": b""}
    add_repository(host, "a/control", wanted | others)

    fetch(fetcher, part("a/control", target="control_net"))

    assert files(tmp_path / "models" / "dream") == {f"control_net/{path}": content for path, content in wanted.items()}


def test_one_file_that_is_missing_ends_the_others(fetcher: Fetcher, host: FileHost, tmp_path: Path) -> None:
    """Nobody waits for gigabytes of a model that can't become whole."""
    add_repository(host, "a/b", {"config.json": b"{}", "m.safetensors": b"m" * 200_000, "n.safetensors": b"n"})
    host.files.pop(next(path for path in host.files if path.endswith("/n.safetensors")))
    host.cut_after = 1000

    assert refused(fetcher, part()).reason == "WeightsNotFound"
    assert sum(path.endswith("/m.safetensors") for path, _, _ in host.seen) < 20


def test_more_than_is_allowed(host: FileHost, tmp_path: Path) -> None:
    add_repository(host, "a/b", {"m.safetensors": b"m" * 1000})
    fetcher = Fetcher(Volume(tmp_path), Access(hub_endpoint=host.url("")), max_bytes=999)

    error = refused(fetcher, part())

    fetcher.close()
    assert (error.reason, error.passes) == ("TooLarge", False)
    assert not any(path.endswith("m.safetensors") for path, _, _ in host.seen)


def test_a_revision(fetcher: Fetcher, host: FileHost, tmp_path: Path) -> None:
    add_repository(host, "a/b", {"m.safetensors": b"new"})
    commit = add_repository(host, "a/b", {"m.safetensors": b"old"}, revision="v1")

    receipt = fetch(fetcher, part(revision="v1"))

    assert files(tmp_path / "models" / "dream") == {"model/m.safetensors": b"old"}
    assert receipt.revisions == {FIELD: commit}


def test_what_is_there_asks_nobody(fetcher: Fetcher, host: FileHost) -> None:
    add_repository(host, "a/b", {"m.safetensors": b"m"})
    first = fetch(fetcher, part())
    host.seen.clear()

    assert fetch(fetcher, part()) == first
    assert host.seen == []


def test_models_share_their_files(fetcher: Fetcher, host: FileHost, tmp_path: Path) -> None:
    add_repository(host, "a/b", {"m.safetensors": b"m" * 1000})
    fetch(fetcher, part())
    fetch(fetcher, part(target="elsewhere"), name="other")

    one, other = (
        tmp_path / "models" / "dream/model/m.safetensors",
        tmp_path / "models" / "other/elsewhere/m.safetensors",
    )
    assert one.stat().st_ino == other.stat().st_ino
    assert sum(path.endswith("m.safetensors") for path, _, _ in host.seen) == 1


def test_what_belongs_to_no_model_any_more_is_removed(fetcher: Fetcher, host: FileHost, tmp_path: Path) -> None:
    add_repository(host, "a/b", {"m.safetensors": b"m" * 1000})
    add_repository(host, "a/c", {"c.safetensors": b"c" * 2000})
    fetch(fetcher, part())
    fetch(fetcher, part(), part("a/c", target="c"), name="other")

    volume = Volume(tmp_path)
    assert volume.collect({"dream"}, unchanged_seconds=60) == 0
    with volume.in_use():
        assert volume.collect({"dream"}, unchanged_seconds=0) == 0
    assert volume.collect({"dream"}, unchanged_seconds=0) == 2000
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["dream"]
    assert files(tmp_path / "models" / "dream") == {"model/m.safetensors": b"m" * 1000}


def test_a_token_opens_a_private_repository(host: FileHost, tmp_path: Path) -> None:
    add_repository(host, "a/b", {"m.safetensors": b"m"})
    host.token = "canary"
    fetcher = Fetcher(Volume(tmp_path), Access(hub_endpoint=host.url(""), hub_token="canary"))

    fetch(fetcher, part())

    fetcher.close()
    assert files(tmp_path / "models" / "dream") == {"model/m.safetensors": b"m"}


@pytest.mark.parametrize(
    ("repository", "wanted", "reason", "told"),
    [
        (GGUFS, part(), "WeightsNotFound", "flux-Q4_0.gguf, flux-Q8_0.gguf"),
        (GGUFS, part(quantization="Q5_0"), "WeightsNotFound", "flux-Q4_0.gguf, flux-Q8_0.gguf"),
        (GGUFS, part(path="missing.gguf"), "WeightsNotFound", "has no missing.gguf"),
        (GGUFS, part("a/other"), "WeightsNotFound", "no repository a/other"),
        (GGUFS, part(revision="v9"), "WeightsNotFound", "v9"),
        ({"model.ckpt": b"p", "config.json": b"{}"}, part(), "UnsafeWeights", "pickles"),
        ({"model.ckpt": b"p"}, part(path="model.ckpt"), "UnsafeWeights", "pickles"),
        ({"m.safetensors": b"PK\x03\x04"}, part(), "UnsafeWeights", "by its content"),
        ({"m.gguf": b"\x80\x02c"}, part(), "UnsafeWeights", "by its content"),
        ({"m.safetensors": b"\n<!DOCTYPE html>"}, part(), "InvalidSource", "web page"),
        ({"a.safetensors": b"a", "b.safetensors": b"b"}, part(), "WeightsNotFound", "a.safetensors, b.safetensors"),
        ({"../a.safetensors": b"a"}, part(), "InvalidSource", "outside"),
        ({"README.md": b"#"}, part(), "WeightsNotFound", "no safetensors"),
        ({"m.safetensors": b"m"}, part(path="m.safetensors", sha256="0" * 64), "ChecksumMismatch", "0" * 64),
    ],
)
def test_refusals(  # noqa: PLR0917 - a table
    fetcher: Fetcher, host: FileHost, repository: dict[str, bytes], wanted: Part, reason: str, told: str
) -> None:
    add_repository(host, "a/b", repository)

    error = refused(fetcher, wanted)

    assert error.reason == reason
    assert not error.passes
    assert FIELD in str(error)
    assert told in str(error)


def test_a_private_repository_without_a_token(fetcher: Fetcher, host: FileHost) -> None:
    add_repository(host, "a/b", GGUFS)
    host.token = "canary"

    error = refused(fetcher, part())

    assert error.reason == "WeightsUnauthorized"
    assert "hfTokenSecretRef" in str(error)


def test_a_hub_that_fails(fetcher: Fetcher, host: FileHost) -> None:
    host.failures = [503] * 20

    assert refused(fetcher, part()).passes


def test_nothing_of_a_model_that_is_not_whole_is_seen(fetcher: Fetcher, host: FileHost, tmp_path: Path) -> None:
    add_repository(host, "a/b", {"config.json": b"{}", "m.safetensors": b"m", "n.safetensors": b"n"})
    commit_path = next(path for path in host.files if path.endswith("/n.safetensors"))
    content = host.files.pop(commit_path)

    refused(fetcher, part())
    assert list((tmp_path / "models").iterdir()) == []
    host.files[commit_path] = content
    host.seen.clear()
    fetch(fetcher, part())

    assert sorted(files(tmp_path / "models" / "dream")) == [
        "model/config.json",
        "model/m.safetensors",
        "model/n.safetensors",
    ]
    assert not any(path.endswith("/m.safetensors") for path, _, _ in host.seen)
