"""Writes models.md, the list of the catalogue's models, from the data of charts/heliograph-models.

Run `make generate` after a change of that data.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from heliograph_api.engine import choose_engine
from heliograph_api.spec import parse_spec
from tables import table

if TYPE_CHECKING:
    from collections.abc import Iterator

Entry = dict[str, Any]

TARGET = Path(__file__).with_name("models.md")
TEXT = Path(__file__).with_name("models.template.md")
DATA = Path(__file__).parents[1] / "charts" / "heliograph-models" / "files"
TITLES = {
    "stable-diffusion": "Stable Diffusion 1 and 2",
    "stable-diffusion-xl": "Stable Diffusion XL",
    "stable-diffusion-3": "Stable Diffusion 3",
    "flux": "FLUX.1",
    "flux-2": "FLUX.2",
    "qwen-and-z-image": "Qwen-Image and Z-Image",
    "other-images": "Other models for pictures",
    "wan": "Wan",
    "other-videos": "Other models for clips",
}
"""Titles of the data's files, in the order in which they are listed."""
_UNKNOWN = "?"


def reference() -> str:
    """Return the text of models.md: the template with its tables filled in."""
    licenses = _read(DATA / "licenses.yaml")
    files = {path.stem: _read(path) for path in (DATA / "models").glob("*.yaml")}
    if files.keys() != TITLES.keys():
        raise ValueError(f"TITLES must name the files of {DATA / 'models'}: {', '.join(sorted(files))}")
    sections = [f"## {title}\n\n{_models(files[name], licenses)}" for name, title in TITLES.items()]
    left_out = ((f"`{name}`", why) for name, why in _read(DATA / "left-out.yaml").items())
    parts = {
        "count": str(sum(map(len, files.values()))),
        "models": "\n\n".join(sections),
        "left out": table(("model", "why"), left_out),
    }
    text = TEXT.read_text(encoding="utf-8")
    for name, part in parts.items():
        text = text.replace(f"{{{{ {name} }}}}", part)
    return text


def _models(entries: dict[str, Entry], licenses: dict[str, str]) -> str:
    head = ("name", "what it is", "engine", "parameters", "download", "licence")
    return table(head, ([*_cells(name, entry, licenses)] for name, entry in entries.items()))


def _cells(name: str, entry: Entry, licenses: dict[str, str]) -> Iterator[str]:
    yield f"`{name}`"
    yield f"[{entry['description']}]({entry['card']})"
    yield choose_engine(parse_spec(entry["spec"])).name
    yield f"{entry['parametersB']:g} billion" if "parametersB" in entry else _UNKNOWN
    yield f"{entry['downloadGB']:g} GB" if "downloadGB" in entry else _UNKNOWN
    address = licenses.get(entry["license"])
    text = f"[{entry['license']}]({address})" if address else entry["license"]
    yield f"{text}, gated" if entry.get("gated") else text


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
