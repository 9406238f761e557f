"""Mutants that no test could find, because the program does the same: rules, each with its reason."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

LISTED = Path(__file__).with_name("equivalents.toml")


@dataclass(frozen=True, slots=True)
class Rule:
    """Mutants that change nothing.

    Attributes:
        before: What matches the line that is mutated, whole.
        after: What matches the line that it becomes, whole.
        module: The module they are in; any where empty.
        reason: Why the program does the same.
    """

    before: re.Pattern[str]
    after: re.Pattern[str]
    module: str
    reason: str

    def holds(self, module: str, diff: str) -> bool:
        """Whether a mutant is of this kind; only those that change a single line can be."""
        removed, added = _changed(diff, "-"), _changed(diff, "+")
        if len(removed) != 1 or len(added) != 1 or self.module not in ("", module):
            return False
        return bool(self.before.fullmatch(removed[0]) and self.after.fullmatch(added[0]))


def load_rules(path: Path = LISTED) -> list[Rule]:
    """Read the rules."""
    entries = tomllib.loads(path.read_text())["rule"]
    return [Rule(re.compile(e["before"]), re.compile(e["after"]), e.get("module", ""), e["reason"]) for e in entries]


def reason_for(module: str, diff: str, rules: list[Rule]) -> str:
    """Return why a mutant is equivalent; empty where no rule says so."""
    return next((rule.reason for rule in rules if rule.holds(module, diff)), "")


def _changed(diff: str, sign: str) -> list[str]:
    return [line[1:].strip() for line in diff.splitlines() if line.startswith(sign) and not line.startswith(sign * 3)]
