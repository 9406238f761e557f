"""``docs/security.md`` lists every limit with its default."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import pytest

from trunkline.cli.options import limits_of
from trunkline.limits import Limits

pytestmark = pytest.mark.golden

TEXT = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")


def test_the_table_holds_what_the_code_holds() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+(?: \wiB)?) \|", TEXT, re.MULTILINE)
    assert [name for name, _ in rows] == list(asdict(Limits()))
    assert limits_of([f"{name}={value}" for name, value in rows]) == Limits()


def test_the_values_it_shows_are_understood() -> None:
    for value in ("2e9", "8GiB", "500M", "1_000_000"):
        assert f"`{value}`" in TEXT
        limits_of([f"macs={value}"])
