"""Golden: what the README says of real architectures is what the page says that `make zoo-check` writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.golden

ROOT = Path(__file__).resolve().parents[2]
PAGE, README = (" ".join((ROOT / name).read_text().split()) for name in ("docs/zoo.md", "README.md"))
ROW = r"\| {} \| (?P<architectures>\d+) \| (?P<exports>\d+) \|[^%]*\| \d+ \((?P<share>[\d.]+)%\) \| (?P<target>\d+)% \|"
KINDS = {"cnn": "CNNs", "hybrid": "hybrids", "transformer": "vision transformers"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_readme_names_each_kinds_share(kind: str) -> None:
    """The readme names the share of each kind."""
    row = re.search(ROW.format(kind), PAGE)
    assert row is not None
    assert float(row["share"]) >= float(row["target"])
    assert f"{row['share']} % of {row['exports']} exports of {KINDS[kind]}" in README


def test_nothing_is_wrong_or_crashed() -> None:
    """Nothing on the page is wrong or crashed."""
    row = re.search(r"\| \*\*all\*\* \|([^/]*)/", PAGE)
    assert row is not None
    architectures, _, _, _, _, wrong, crashed = (cell.strip() for cell in row[1].split("|")[:7])
    assert (wrong, crashed) == ("", "")
    assert f"{architectures} architectures" in README
    assert "states of the sources" not in PAGE
