"""The guide to the stable-diffusion.cpp engine says what the engine does."""

import re
import runpy
from pathlib import Path

import pytest
import yaml

from heliograph_api.engine import choose_engine
from heliograph_api.sdcpp_options import REFUSED
from heliograph_api.sdcpp_table import OPTIONS
from heliograph_api.spec import parse_spec
from heliograph_runtime.engines.sdcpp.options import read_options


@pytest.fixture
def docs(pytestconfig: pytest.Config) -> Path:
    return pytestconfig.rootpath / "docs"


@pytest.fixture
def guide(docs: Path) -> str:
    return (docs / "sdcpp.md").read_text(encoding="utf-8")


def test_the_guide_is_up_to_date(docs: Path, guide: str) -> None:
    module = runpy.run_path(str(docs / "sdcpp.py"))

    assert guide == module["reference"](), "run `make generate`"


def test_the_guide_has_a_row_for_every_option_once(guide: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \|", guide, flags=re.MULTILINE)

    assert sorted(rows) == sorted([*OPTIONS, *REFUSED])


def test_the_guides_examples_are_of_this_engine_and_its_options(guide: str, tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", guide, flags=re.DOTALL)
    specs = [parse_spec(yaml.safe_load(example)) for example in examples]

    assert len(specs) == 3
    for spec in specs:
        assert choose_engine(spec).name == "sdcpp"
        for option in spec.sdcpp_options:
            (tmp_path / option.partition(":")[2]).touch()
        (tmp_path / "loras").mkdir(exist_ok=True)
        read_options(spec.options or (), models_dir=tmp_path)
