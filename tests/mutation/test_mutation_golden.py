"""The tool that plants faults: what it chooses, leaves out, counts and shows."""

from __future__ import annotations

import pytest

from mutation.equivalents import load_rules, reason_for
from mutation.report import ModuleReport, Survivor, share, survivors, table
from mutation.sample import sample
from mutation.targets import GROUPS
from mutation.workspace import ROOT

pytestmark = pytest.mark.golden

NAMES = [f"module.x_f__mutmut_{number}" for number in range(200)]


def test_every_module_and_test_exists() -> None:
    modules = [module for group in GROUPS for module in group.modules]
    assert len(set(modules)) == len(modules)
    missing = [path for group in GROUPS for path in (*group.modules, *group.tests) if not (ROOT / path).is_file()]
    assert not missing


def test_a_larger_sample_holds_the_smaller() -> None:
    """So that nothing is tried twice; another seed chooses others, and order does not matter."""
    small, large = sample(NAMES, 20, seed=0), sample(NAMES, 60, seed=0)
    assert large[:20] == small
    assert sample(NAMES[::-1], 20, seed=0) == small
    assert set(sample(NAMES, 20, seed=1)) != set(small)
    assert len(sample(NAMES, 1000, seed=0)) == len(NAMES)


def diff(before: str, after: str) -> str:
    return f"--- a.py\n+++ a.py\n@@ -1,3 +1,3 @@\n def f():\n-    {before}\n+    {after}\n     return x"


@pytest.mark.parametrize(
    ("before", "after", "equivalent"),
    [
        ("for a, b in zip(x, y, strict=True):", "for a, b in zip(x, y, strict=False):", True),
        ("for a, b in zip(x, y, strict=True):", "for a, b in zip(x, y, ):", True),
        ("for a, b in zip(x, y, strict=True):", "for a, b in zip(y, strict=True):", False),
        ("total += 1", "total -= 1", False),
    ],
)
def test_rules_say_what_changes_nothing(before: str, after: str, equivalent: bool) -> None:
    assert bool(reason_for("trunkline/a.py", diff(before, after), load_rules())) is equivalent


def report(**verdicts: int) -> ModuleReport:
    lived = (
        Survivor("m.x_f__mutmut_1", diff("total += 1", "total -= 1"), reached=True),
        Survivor("m.x_g__mutmut_2", diff("return 2", "return 3"), reached=False),
        Survivor("m.x_h__mutmut_3", diff("a", "b"), reached=True, equivalent="the same"),
    )
    return ModuleReport("m.py", 50, 25, verdicts, lived)


def test_what_is_counted_as_what() -> None:
    found = report(killed=16, timeout=1, survived=2, **{"no tests": 1})
    assert (found.killed, found.survived, found.equivalent, found.open) == (17, 2, 1, 5)
    content = found.to_json()
    assert content["share_killed"] == pytest.approx(17 / 19)
    assert content["timed_out"] == 1
    assert [survivor["equivalent"] for survivor in content["survivors"]] == ["", "", "the same"]
    assert share(0, 0) is None


def test_the_table_ends_with_the_sum() -> None:
    text = table([report(killed=16, timeout=1, survived=3), report(killed=10)])
    assert text.splitlines()[2] == "| m.py | 50 | 25 | 5 | 17 | 1 | 2 | 1 | 89 % |"
    assert text.splitlines()[-1] == "| all | 100 | 50 | 20 | 27 | 1 | 4 | 2 | 87 % |"


def test_survivors_are_shown_with_their_diffs() -> None:
    text = survivors([report(survived=3)])
    assert "m.x_f__mutmut_1\n--- a.py" in text
    assert "-    total += 1\n+    total -= 1" in text
    assert "m.x_g__mutmut_2 (no test reaches it)" in text
    assert "x_h" not in text
