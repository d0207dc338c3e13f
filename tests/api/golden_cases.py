"""The golden manifests of golden/: which there are, and what the comment lines at their head expect of them.

- good/: ImageModels that everything accepts. `# engine: NAME` is the engine (none for an alias), each
  `# warns: REASON PATH` a warning; there are no other warnings.
- localai/: LocalAI model files; the file of the same name in good/ is the same model as an ImageModel.
- bad/: manifests that everything refuses. `# refused: PATH | TEXT` is the field at fault and a part of the message.
"""

import re
from dataclasses import dataclass
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent / "golden"


@dataclass(frozen=True)
class Good:
    """A manifest that is accepted, and what is expected of it."""

    file: Path
    engine: str
    warnings: tuple[str, ...]

    @property
    def text(self) -> str:
        return self.file.read_text()


@dataclass(frozen=True)
class Bad:
    """A manifest that is refused: the path of the field at fault and a part of the message."""

    file: Path
    path: str
    message: str

    @property
    def text(self) -> str:
        return self.file.read_text()


def good_cases(folder: str) -> list[Good]:
    cases = []
    for file in sorted((GOLDEN / folder).glob("*.yaml")):
        text = file.read_text()
        (engine,) = re.findall(r"^# engine: (diffusers|sdcpp|none)$", text, re.MULTILINE)
        cases.append(Good(file, engine, tuple(sorted(re.findall(r"^# warns: (\w+ \S+)$", text, re.MULTILINE)))))
    return cases


def bad_cases() -> list[Bad]:
    cases = []
    for file in sorted((GOLDEN / "bad").glob("*.yaml")):
        ((path, message),) = re.findall(r"\A# refused: (\S+) \| (.+)$", file.read_text(), re.MULTILINE)
        cases.append(Bad(file, path, message))
    return cases
