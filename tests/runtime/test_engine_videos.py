"""Clips: how many frames at which rate, from text and from pictures."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from heliograph_runtime.engines.diffusers.video import needs_last_image
from heliograph_runtime.engines.protocol import Batch, Inputs, VideoCapabilities
from runtime import miniatures
from runtime.engines import difference, draw, load_folder, make_sampling, patches, pixels

# diffusers 0.42 and numpy 2.4
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Save = Callable[[Path], None]


@pytest.mark.parametrize(
    ("save", "spec", "expected"),
    [
        (miniatures.save_text_to_video, {}, VideoCapabilities(16, 1, 257, 8, last_image=False)),
        (miniatures.save_stable_video, {}, VideoCapabilities(4, 1, 257, 7, last_image=False, min_frames=2)),
        (
            miniatures.save_stable_video,
            {"options": ["num_frames:3", "fps:5", "motion_bucket_id:90", "decode_chunk_size:2"]},
            VideoCapabilities(3, 1, 257, 5, last_image=False, min_frames=2),
        ),
        (miniatures.save_wan, {}, VideoCapabilities(81, 4, 257, 16, last_image=False)),
        (miniatures.save_wan_image, {}, VideoCapabilities(81, 4, 257, 16, last_image=False)),
        (miniatures.save_wan22_image, {}, VideoCapabilities(81, 4, 257, 16, last_image=True)),
        (miniatures.save_ltx, {}, VideoCapabilities(161, 8, 257, 25, last_image=False)),
        (miniatures.save_ltx2, {}, VideoCapabilities(121, 8, 257, 24, last_image=False)),
    ],
)
def test_reads_what_clips_are_like(
    tmp_path: Path, save: Save, spec: dict[str, Any], expected: VideoCapabilities
) -> None:
    save(tmp_path / "model")

    assert load_folder(tmp_path / "model", **spec)[1].video == expected


def test_a_text_to_video_model_by_localais_name_for_its_pipeline(tmp_path: Path) -> None:
    miniatures.save_text_to_video(tmp_path / "model")
    engine, found = load_folder(tmp_path / "model", diffusers={"pipeline_type": "VideoDiffusionPipeline"})
    sampling = replace(make_sampling(found, "text"), frames=3, fps=10)
    (clip,) = draw(engine, Batch(sampling, ("a cat",), ("red",), (1,)))
    (other,) = draw(engine, Batch(replace(sampling, frames=5), ("a cat",), ("red",), (1,)))

    assert found.modes["text"].pipeline == "TextToVideoSDPipeline"
    assert found.modes["text"].negative_prompt
    assert (clip.frames, clip.width, clip.height) == (3, 64, 64)
    assert len(clip.pixels) == 3 * 64 * 64 * 3
    assert other.frames == 5
    assert not np.array_equal(pixels(clip)[0], pixels(clip)[1])


def test_a_picture_is_set_in_motion_without_a_prompt(tmp_path: Path) -> None:
    miniatures.save_stable_video(tmp_path / "model")
    engine, found = load_folder(
        tmp_path / "model", f16=True, step=25, diffusers={"pipeline_type": "StableVideoDiffusionPipeline"}
    )
    sampling = make_sampling(found, "image", side=32)
    batch = Batch(sampling, ("",), None, (1,), Inputs((patches(1, 32, 32),)))

    assert found.guidance_scale == 3.0  # its max_guidance_scale
    assert not found.modes["image"].prompt
    assert difference(*(draw(engine, replace(batch, sampling=replace(sampling, fps=fps)))[0] for fps in (7, 20))) > 0
    assert (
        difference(*(draw(engine, replace(batch, sampling=replace(sampling, guidance_scale=g)))[0] for g in (1, 9))) > 0
    )


def test_the_last_picture_shows_in_a_clip(tmp_path: Path) -> None:
    miniatures.save_wan22_image(tmp_path / "model")
    engine, found = load_folder(tmp_path / "model")
    images = (patches(1),)
    batch = Batch(make_sampling(found, "image"), ("a cat",), None, (1,), Inputs(images))
    free, one, other = (
        draw(engine, replace(batch, inputs=Inputs(images, last_image=last)))[0]
        for last in (None, patches(2), patches(3))
    )

    assert difference(one, other) > 1
    assert difference(one, free) > 1


def test_weights_that_can_begin_a_clip_with_a_picture_serve_both_modes(tmp_path: Path) -> None:
    miniatures.save_wan(tmp_path / "model")
    index = tmp_path / "model/model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"expand_timesteps": True}))
    engine, found = load_folder(tmp_path / "model")
    batch = Batch(make_sampling(found, "image"), ("a cat",), None, (1,), Inputs((patches(1),)))

    assert {mode: able.pipeline for mode, able in found.modes.items()} == {
        "text": "WanPipeline",
        "image": "WanImageToVideoPipeline",
    }
    assert difference(draw(engine, batch)[0], draw(engine, replace(batch, inputs=Inputs((patches(2),))))[0]) > 1


def test_weights_for_first_and_last_frame_are_told_by_their_places() -> None:
    def pipeline(**config: object) -> object:
        return SimpleNamespace(transformer=SimpleNamespace(config=config))

    assert needs_last_image(pipeline(image_dim=1280, pos_embed_seq_len=514))
    assert not needs_last_image(pipeline(image_dim=1280, pos_embed_seq_len=None))
    assert not needs_last_image(SimpleNamespace(unet=None))
