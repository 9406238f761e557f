"""Horizontal fusion as a decision: whether a file has it, and what that rests on.

The passes are :mod:`trunkline.export.passes.siblings` and :mod:`trunkline.export.passes.branches`. They save no work,
only nodes, so a device may be quicker or slower for them. That is measured by a verb; this room measures nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

FuseMode = Literal["off", "on", "measure"]
FUSION_KEY = "trunkline.fusion"
"""On a file of which fusion was asked for: what was decided, as JSON."""


@dataclass(frozen=True, slots=True)
class Fusion:
    """What was decided.

    Attributes:
        mode: What was asked for.
        fused: Whether the file has fused nodes.
        ratio: With ``measure``: median over rounds of the fused file's time divided by the plain one's.
        ci: Interval of ``ratio`` at 99 %.
        measured_on: With ``measure``: runtime, provider, threads and batch, in words.
        reason: Why the file is as it is.
    """

    mode: FuseMode
    fused: bool
    reason: str
    ratio: float | None = None
    ci: tuple[float, float] | None = None
    measured_on: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        return {
            "mode": self.mode,
            "fused": self.fused,
            "reason": self.reason,
            "ratio": self.ratio,
            "ci": None if self.ci is None else list(self.ci),
            "measured_on": self.measured_on,
        }

    def to_metadata(self) -> dict[str, str]:
        """Return the model's ``metadata_props``; none where nothing was asked for."""
        return {} if self.mode == "off" else {FUSION_KEY: json.dumps(self.to_json(), sort_keys=True)}
