"""Parity: ONNX's own generated cases. The whole table is docs/conformance.md, written by ``make conformance``."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.cases import Case, collect
from conformance.operators import CHOSEN, EXCLUDED, chosen
from conformance.report import described, faults
from conformance.run import COLUMNS, OWN, Tally, Trial, trials

pytest.importorskip("onnxruntime")
ROOT = Path(__file__).resolve().parents[2]
SLICE = 150
"""Cases tried at an opset that is not their own, of the five thousand of the table."""


@pytest.fixture(scope="module")
def cases() -> dict[str, list[Case]]:
    return collect()


@pytest.fixture(scope="module")
def own(cases: dict[str, list[Case]]) -> dict[str, list[Trial]]:
    """Every case at its own opset."""
    return {name: list(trials(cases.get(name, []), [OWN])) for name in chosen()}


def tallied(some: Iterator[Trial] | list[Trial]) -> dict[str, Tally]:
    tallies: dict[str, Tally] = {}
    for trial in some:
        tallies.setdefault(trial.case.op, Tally()).add(trial)
    return tallies


def published() -> dict[str, tuple[int, int]]:
    """Floating-point cases passed and valid at their own opset, by operator, from the page."""
    page = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| (\d+)/(\d+) \|", page.split("## Integers")[0], re.MULTILINE)
    return {name: (int(passed), int(total)) for name, passed, total in rows}


@pytest.mark.properties
def test_operators_with_cases_are_run_or_excused(cases: dict[str, list[Case]]) -> None:
    """Every operator that ONNX has cases for is run, or left out for a written reason."""
    left_out = [name for names in EXCLUDED.values() for name in names]
    assert len({*chosen(), *left_out}) == len(chosen()) + len(left_out)
    assert set(cases) == {*chosen(), *left_out}
    assert set(published()) <= {name for names in CHOSEN.values() for name in names}


@pytest.mark.parity
def test_cases_at_their_own_opset(own: dict[str, list[Trial]]) -> None:
    assert not faults(tallied([trial for found in own.values() for trial in found]))


@pytest.mark.golden
@pytest.mark.parametrize("name", chosen())
def test_page_lists_only_what_passes(name: str, own: dict[str, list[Trial]]) -> None:
    """docs/conformance.md promises no more than what passes."""
    floats = [trial for trial in own[name] if trial.case.is_float]
    passed, total = published().get(name, (0, 0))
    failed = [described(trial) for trial in floats if trial.outcome.kind != "pass"]
    assert len(floats) == total
    assert len(floats) - len(failed) >= passed, failed


@pytest.mark.parity
def test_cases_at_other_opsets(cases: dict[str, list[Case]]) -> None:
    pairs = [(case, column) for name in chosen() for case in cases.get(name, []) for column in COLUMNS[1:]]
    some = random.Random(0).sample(pairs, SLICE)
    found = [trial for case, column in some for trial in trials([case], [column])]
    assert len(found) > SLICE // 3
    assert not faults(tallied(found))
