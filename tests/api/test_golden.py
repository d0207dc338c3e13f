"""The golden manifests, read by the pydantic models and by a real API server through kubectl: both must agree."""

import json
import re
from typing import Any

import pytest

from api.golden_cases import GOLDEN, Bad, Good, bad_cases, good_cases
from cluster.control_plane import ControlPlane
from heliograph_api.advice import spec_warnings
from heliograph_api.engine import choose_engine
from heliograph_api.errors import SpecError
from heliograph_api.manifest import ImageModel, read_manifests

GOOD = good_cases("good")
LOCALAI = good_cases("localai")
BAD = bad_cases()


def name_of(case: Good | Bad) -> str:
    return case.file.stem


def read(case: Good | Bad) -> ImageModel:
    (model,) = read_manifests(case.text, default_name=case.file.stem)
    return model


@pytest.fixture(scope="module")
def accepted(imagemodels: ControlPlane) -> dict[str, dict[str, Any]]:
    """What the API server makes of each good manifest, by name."""
    answer = imagemodels.kubectl("create", "--dry-run=server", "-o", "json", "-f", GOLDEN / "good")
    # One object after the other, without a list around them.
    objects = re.split(r"^(?=\{$)", answer.stdout, flags=re.MULTILINE)[1:]
    return {item["metadata"]["name"]: item for item in map(json.loads, objects)}


@pytest.fixture(scope="module")
def refused(imagemodels: ControlPlane) -> dict[str, str]:
    """What kubectl says about each bad manifest, by the name of its file."""
    answer = imagemodels.kubectl("create", "--dry-run=server", "-o", "name", "-f", GOLDEN / "bad", check=False)
    assert answer.stdout == ""
    complaints = re.split(r"(?=error when creating|unable to decode|resource mapping not found)", answer.stderr)
    return {file[1]: text for text in complaints if (file := re.search(r"/bad/([^\"/]+)\.yaml", text))}


def test_there_are_enough_cases() -> None:
    assert len(BAD) >= 40
    assert len(LOCALAI) >= 30
    assert {case.file.name for case in LOCALAI} <= {case.file.name for case in GOOD}


@pytest.mark.parametrize("case", [*GOOD, *LOCALAI], ids=lambda case: f"{case.file.parent.name}-{case.file.stem}")
def test_a_good_manifest_is_read(case: Good) -> None:
    model = read(case)
    assert ("none" if model.spec.alias else choose_engine(model.spec).name) == case.engine
    warned = sorted(
        f"{warning.reason} {warning.message.partition(': ')[0]}"
        for warning in spec_warnings(model.raw_spec, model.spec)
    )
    assert tuple(warned) == case.warnings


@pytest.mark.parametrize("case", LOCALAI, ids=name_of)
def test_a_localai_file_is_the_spec_of_an_imagemodel(case: Good) -> None:
    same = Good(GOLDEN / "good" / case.file.name, case.engine, case.warnings)
    assert read(case).raw_spec == read(same).raw_spec
    assert read(case).spec == read(same).spec


@pytest.mark.parametrize("case", BAD, ids=name_of)
def test_a_bad_manifest_is_refused(case: Bad) -> None:
    with pytest.raises(SpecError) as caught:
        read(case)
    assert caught.value.path == case.path
    assert case.message in caught.value.problem


@pytest.mark.parametrize("case", GOOD, ids=name_of)
def test_the_api_server_accepts_a_good_manifest(case: Good, accepted: dict[str, dict[str, Any]]) -> None:
    """And reads the same from it as `heliograph serve`, but for its two defaults."""
    model = read(case)
    written: dict[str, Any] = {**model.raw_spec}
    written["serving"] = {"replicas": 1, **written.get("serving", {})}
    assert accepted[model.name]["spec"] == written
    assert ImageModel.from_object(accepted[model.name]).spec == model.spec


@pytest.mark.parametrize("case", BAD, ids=name_of)
def test_the_api_server_refuses_a_bad_manifest(case: Bad, refused: dict[str, str]) -> None:
    message = refused[case.file.stem]
    # The value of a map that breaks a CEL rule is limits[cpu] there, one of the wrong type limits.cpu.
    assert case.path in re.sub(r"\[([A-Za-z][\w-]*)\]", r".\1", message)
