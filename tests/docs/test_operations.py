"""The runbooks cover what there is."""

import re
from pathlib import Path

from docs.blocks import blocks_in

CONDITION = re.compile(r'verdicts\["(\w+)"\]|"(\w+)": _\w+\(seen\)')


def headings(document: Path) -> set[str]:
    return set(re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE))


def test_every_condition_has_a_runbook(root: Path) -> None:
    source = (root / "operator" / "heliograph_operator" / "conditions.py").read_text(encoding="utf-8")
    conditions = {name for found in CONDITION.findall(source) for name in found if name}

    assert {"Ready", "RolloutBlocked", "WeightsCached"} <= conditions
    assert conditions <= headings(root / "docs" / "operations.md")
    listed = re.findall(r"^\| (\w+) \|", (root / "docs" / "conditions.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert conditions <= set(listed)


def test_every_table_of_reasons_says_how_to_look(root: Path) -> None:
    """Cause and remedy are columns, which its generator fills."""
    text = (root / "docs" / "conditions.md").read_text(encoding="utf-8")
    sections = [part for part in text.split("\n## ") if "| what to do |" in part]

    assert len(sections) >= 5
    for section in sections:
        assert blocks_in(section, "docs/conditions.md"), section.partition("\n")[0]
        for row in re.findall(r"^\| (?!reason|-)(.*) \|$", section, re.MULTILINE):
            assert all(len(cell) > 3 for cell in row.split(" | ")), row
            assert row.count(" | ") == 2, row


def test_every_alert_has_a_runbook(root: Path) -> None:
    template = (root / "charts" / "heliograph" / "templates" / "monitoring.yaml").read_text(encoding="utf-8")
    alerts = set(re.findall(r"- alert: (\w+)", template))
    told = set(re.findall(r"^\| (Heliograph\w+) \|", (root / "docs" / "operations.md").read_text(), re.MULTILINE))

    assert len(alerts) > 4
    assert told == alerts
