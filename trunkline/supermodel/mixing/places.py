"""Where the options of a mixed operator stand in its row of weights: two kernels, then the skip."""

from __future__ import annotations

SHARED, OWN, SKIPPED = 0, 1, 2
