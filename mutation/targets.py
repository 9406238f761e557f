"""Which modules are tested by mutation, and which tests must notice a fault in each.

A module's tests are the ones that are about it, and quick: a mutant costs what those of them cost that reach the mutated
function, up to the first that fails. A fault that only a slow or distant test would find counts as not found.
"""

from __future__ import annotations

from collections.abc import Mapping

TARGETS: Mapping[str, tuple[str, ...]] = {}
