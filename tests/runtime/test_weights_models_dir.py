"""Fetched files among the others of a models folder."""

from pathlib import Path

import pytest

from heliograph_runtime.weights.models_dir import VOLUME, link_files, present_in

PLACES = ["a.safetensors", "sub/b.safetensors"]


def fetched(models: Path, name: str) -> Path:
    for place in PLACES:
        path = models / VOLUME / "models" / name / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name} {place}")
    return models


def test_links_that_are_right_are_left_alone(tmp_path: Path) -> None:
    """A models folder that is read-only by now has nothing to be written into it."""
    models = fetched(tmp_path, "dream")
    link_files(models, "dream", PLACES)
    made = [(models / place).lstat().st_ino for place in PLACES]
    folders = [folder.stat().st_mtime_ns for folder in (models, models / "sub")]

    link_files(models, "dream", PLACES)

    assert [(models / place).lstat().st_ino for place in PLACES] == made
    assert [folder.stat().st_mtime_ns for folder in (models, models / "sub")] == folders
    assert (models / PLACES[1]).read_text() == f"dream {PLACES[1]}"


def test_links_of_earlier_content_are_changed(tmp_path: Path) -> None:
    models = fetched(fetched(tmp_path, "dream"), "newer")
    link_files(models, "dream", PLACES)

    link_files(models, "newer", PLACES)

    assert [(models / place).read_text() for place in PLACES] == [f"newer {place}" for place in PLACES]
    assert sorted(path.name for path in models.iterdir()) == [VOLUME, "a.safetensors", "sub"]
    assert not any(map(present_in(models), PLACES))


def test_a_file_of_somebody_else_stays(tmp_path: Path) -> None:
    models = fetched(tmp_path, "dream")
    (models / PLACES[0]).write_text("mine")

    with pytest.raises(FileExistsError):
        link_files(models, "dream", PLACES)

    assert (models / PLACES[0]).read_text() == "mine"
