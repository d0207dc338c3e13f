"""Words that a model is taught from files: what they draw, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from heliograph_runtime.engines.diffusers.embeddings import load_embeddings
from heliograph_runtime.engines.diffusers.prompts import encode_prompts
from heliograph_runtime.engines.protocol import LoadError
from pictures import classify
from runtime import miniatures
from runtime.pipelines import draw, load_pipeline

# diffusers 0.42 and numpy 2.4
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

WIDTH = 96
"""Numbers of a vector of the tiny model."""


def vectors(pipeline: Any, *words: str) -> torch.Tensor:
    """The vectors that a model has for words of its own."""
    ids = [pipeline.tokenizer(word, add_special_tokens=False).input_ids[0] for word in words]
    table: torch.Tensor = pipeline.text_encoder.get_input_embeddings().weight
    return table.detach()[ids].clone()


def teach(pipeline: Any, models_dir: Path, option: str = "embeddings_dir:words") -> None:
    load_embeddings(pipeline, ["guidance_rescale:0.1", option], models_dir=models_dir)


def encode(pipeline: Any, prompt: str) -> dict[str, Any]:
    return encode_prompts(pipeline, [prompt], None, clip_skip=None, weighting=True)


def seen(pipeline: Any, prompt: str) -> tuple[str | None, str | None]:
    """Colour and shape of what is drawn."""
    (picture,) = draw(
        pipeline, 1, **encode(pipeline, prompt), num_inference_steps=8, guidance_scale=4.0, width=128, height=128
    )
    content = classify(Image.fromarray((picture * 255).round().astype("uint8")))
    return content.colour, content.shape


@pytest.fixture
def words(tmp_path: Path) -> Path:
    folder = tmp_path / "words"
    folder.mkdir()
    return folder


def refusal(pipeline: Any, models_dir: Path, option: str = "embeddings_dir:words") -> LoadError:
    with pytest.raises(LoadError) as caught:
        teach(pipeline, models_dir, option)
    assert caught.value.message.startswith("options: embeddings_dir: ")
    return caught.value


@pytest.mark.parametrize("option", ["embeddings_dir:words", "embedding_dir: words "])
def test_a_word_draws_what_it_was_taught(words: Path, option: str) -> None:
    pipeline = load_pipeline()
    save_file({"emb_params": vectors(pipeline, "blue")}, words / "zorgle.safetensors")
    save_file({"<anything>": vectors(pipeline, "green", "heart")}, words / "Xyloid-Two.safetensors")
    (words / "zorgle.png").write_bytes(b"a preview")
    before = encode(pipeline, "a blue circle")

    teach(pipeline, words.parent, option)

    assert seen(pipeline, "a zorgle circle on a white background") == ("blue", "circle")
    assert seen(pipeline, "a xyloid-two on a white background") == ("green", "heart")
    assert torch.equal(encode(pipeline, "a blue circle")["prompt_embeds"], before["prompt_embeds"])


def test_a_word_stands_for_all_its_vectors(words: Path) -> None:
    pipeline = load_pipeline()
    save_file({"x": vectors(pipeline, "green", "heart", "on", "white")}, words / "xyloid.safetensors")
    expected = {
        weight: encode(pipeline, f"(a:{weight}) (green heart on white:{weight}) background")["prompt_embeds"]
        for weight in (1, 1.5)
    }

    teach(pipeline, words.parent)

    for weight, embeds in expected.items():
        found = encode(pipeline, f"(a Xyloid:{weight}) background")["prompt_embeds"]
        torch.testing.assert_close(found, embeds)


def test_a_word_is_no_part_of_others(words: Path) -> None:
    pipeline = load_pipeline()
    save_file({"x": vectors(pipeline, "star")}, words / "art.safetensors")
    before = encode(pipeline, "a heart, art2 or arts")

    teach(pipeline, words.parent)

    assert torch.equal(encode(pipeline, "a heart, art2 or arts")["prompt_embeds"], before["prompt_embeds"])
    torch.testing.assert_close(
        encode(pipeline, "a heart (art) ART, art")["prompt_embeds"],
        encode(pipeline, "a heart (star) star, star")["prompt_embeds"],
    )


def test_the_vectors_of_a_word_stay_in_one_chunk(words: Path) -> None:
    pipeline = load_pipeline()
    save_file({"x": vectors(pipeline, "green", "heart", "on")}, words / "xyloid.safetensors")
    expected = encode(pipeline, "red " * 73 + "BREAK green heart on")["prompt_embeds"]

    teach(pipeline, words.parent)

    torch.testing.assert_close(encode(pipeline, "red " * 73 + "xyloid")["prompt_embeds"], expected)


def test_xl_learns_a_word_with_both_encoders(words: Path) -> None:
    miniatures.save_sdxl(words.parent / "xl")
    pipeline = load_pipeline(words.parent / "xl")
    # As the configs of Stable Diffusion XL have it.
    pipeline.text_encoder_2.text_model.eos_token_id = 2
    without = encode(pipeline, "a cat")
    save_xl(words / "zorgle.safetensors")

    teach(pipeline, words.parent)

    found = encode(pipeline, "a zorgle")
    halves = found["prompt_embeds"][0, 2:4].split([32, 48], dim=-1)
    for half, plain in zip(halves, without["prompt_embeds"][0, 2:4].split([32, 48], dim=-1), strict=True):
        assert not torch.allclose(half, plain)
    assert torch.equal(encode(pipeline, "a cat")["pooled_prompt_embeds"], without["pooled_prompt_embeds"])
    # The pooled embedding is that of the token which ends the text, three tokens after its start.
    hidden = pipeline.text_encoder_2.text_model(torch.tensor([[52, 26, *new_ids(pipeline), 53]])).last_hidden_state
    expected = pipeline.text_encoder_2.text_projection(hidden[:, -1])
    torch.testing.assert_close(found["pooled_prompt_embeds"], expected)


def test_the_refiner_learns_with_its_one_encoder(words: Path) -> None:
    miniatures.save_sdxl_refiner(words.parent / "refiner")
    pipeline = load_pipeline(words.parent / "refiner")
    save_xl(words / "zorgle.safetensors")
    before = encode(pipeline, "a zorgle")

    teach(pipeline, words.parent)

    assert not torch.equal(encode(pipeline, "a zorgle")["prompt_embeds"], before["prompt_embeds"])


def test_without_the_option_nothing_is_read() -> None:
    pipeline = load_pipeline()

    load_embeddings(pipeline, ["guidance_rescale:0.1"], models_dir=Path("/nowhere"))

    assert not [word for word in pipeline.tokenizer.get_added_vocab() if not word.startswith("<|")]


def test_an_empty_folder_teaches_nothing(words: Path) -> None:
    pipeline = load_pipeline()
    teach(pipeline, words.parent)

    assert pipeline.text_encoder.get_input_embeddings().weight.shape[0] == 641


@pytest.mark.parametrize(
    ("name", "tensors", "problem"),
    [
        ("zorgle", {"x": torch.rand(1, 768)}, "it must hold 1 to 75 vectors of 96 numbers, but holds 1x768"),
        ("zorgle", {"x": torch.rand(76, WIDTH)}, "it must hold 1 to 75 vectors of 96 numbers, but holds 76x96"),
        ("zorgle", {"x": torch.rand(0, WIDTH)}, "it must hold 1 to 75 vectors of 96 numbers, but holds 0x96"),
        ("zorgle", {"x": torch.rand(1, 1, WIDTH)}, "it must hold 1 to 75 vectors of 96 numbers, but holds 1x1x96"),
        ("zorgle", {"clip_g": torch.rand(1, 48), "clip_l": torch.rand(1, 32)}, "it must hold one tensor"),
        ("zorgle", {}, "but holds nothing"),
        ("hear", {"x": torch.rand(1, WIDTH)}, "its name is a token of the model, or one of another file's"),
    ],
)
def test_what_is_no_embedding_for_the_model_is_refused(
    words: Path, name: str, tensors: dict[str, torch.Tensor], problem: str
) -> None:
    save_file(tensors, words / f"{name}.safetensors")

    error = refusal(load_pipeline(), words.parent)

    assert error.reason == "InvalidSpec"
    assert f"{name}.safetensors is no embedding for this model: " in error.message
    assert problem in error.message


def test_files_whose_words_run_into_each_other_are_refused(words: Path) -> None:
    save_file({"x": torch.rand(2, WIDTH)}, words / "zorgle.safetensors")
    save_file({"x": torch.rand(1, WIDTH)}, words / "zorgle_1.safetensors")

    assert "zorgle_1.safetensors" in refusal(load_pipeline(), words.parent).message


def test_an_embedding_of_stable_diffusion_1_is_none_for_xl(words: Path) -> None:
    miniatures.save_sdxl(words.parent / "xl")
    save_file({"emb_params": torch.rand(1, 32)}, words / "zorgle.safetensors")

    error = refusal(load_pipeline(words.parent / "xl"), words.parent)

    assert error.reason == "InvalidSpec"
    assert error.message.endswith("it must hold clip_l and clip_g, but holds emb_params")


def test_only_clip_families_can_be_taught(words: Path) -> None:
    miniatures.save_flux(words.parent / "flux")

    error = refusal(load_pipeline(words.parent / "flux"), words.parent)

    assert error.reason == "Unsupported"
    assert "FluxPipeline" in error.message


def test_what_is_unsafe_or_outside_is_refused(words: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    pipeline = load_pipeline()
    outside = tmp_path_factory.mktemp("outside") / "zorgle.safetensors"
    save_file({"x": torch.rand(1, WIDTH)}, outside)

    assert refusal(pipeline, words.parent, "embeddings_dir:nothing").reason == "WeightsMissing"
    (words.parent / "file").touch()
    assert refusal(pipeline, words.parent, "embeddings_dir:file").reason == "WeightsMissing"
    assert refusal(pipeline, words.parent, f"embeddings_dir:../{outside.parent.name}").reason == "PathEscape"
    (words / "zorgle.safetensors").symlink_to(outside)
    assert refusal(pipeline, words.parent).reason == "PathEscape"
    (words / "zorgle.safetensors").unlink()
    (words / "zorgle.safetensors").write_bytes(b"\x80\x05trap")
    assert refusal(pipeline, words.parent).reason == "UnsafeWeights"
    (words / "zorgle.safetensors").unlink()
    (words / "zorgle.pt").write_bytes(b"\x80\x05trap")
    assert refusal(pipeline, words.parent).reason == "UnsafeWeights"
    assert not [word for word in pipeline.tokenizer.get_added_vocab() if not word.startswith("<|")]


def save_xl(file: Path) -> None:
    numbers = torch.Generator().manual_seed(0)
    tensors = {"clip_l": torch.randn(2, 32, generator=numbers), "clip_g": torch.randn(2, 48, generator=numbers)}
    save_file(tensors | {"clip_x": torch.zeros(1)}, file)


def new_ids(pipeline: Any) -> list[int]:
    added = pipeline.tokenizer_2.get_added_vocab()
    return [added["zorgle"], added["zorgle_1"]]
