"""The repository's own timing helper, on a synthetic clock."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.bench.conftest import FakeClock


COMMON = Path(__file__).parents[2] / "bench_suite" / "common.py"


def _common() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_suite_common", COMMON)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.golden
def test_paired_prints_the_speed_up(clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    def work(milliseconds: int) -> None:
        clock.now += milliseconds * 1_000_000

    found = _common().paired("mixing", lambda: work(30), lambda: work(20), clock=clock)
    assert found.value == pytest.approx(1.5)
    assert found.count == 15
    printed = capsys.readouterr().out
    assert "x1.500 [1.500, 1.500] faster, 15 rounds" in printed
    assert "30.000 ms ->     20.000 ms" in printed


@pytest.mark.abuse
def test_paired_with_too_few_rounds(clock: FakeClock) -> None:
    def work() -> None:
        clock.now += 1_000_000

    with pytest.raises(ValueError, match="fewer than 11"):
        _common().paired("mixing", work, work, rounds=10, clock=clock)
