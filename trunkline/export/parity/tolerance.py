"""How far an exported model may be from the truth.

The truth is the float64 twin. A float32 twin misses it by rounding, and how much depends on the network: so its own
error is the yardstick, with a margin for another order of summation, and a floor for lucky zeros. A file in half
precision rounds as often, each time by so many times more: its yardstick is so many times that error. Some operators of
the runtime are less exact than torch's; what they add is known by operator, see
:mod:`trunkline.export.parity.runtime_precision`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trunkline.text import shape_text

Array = np.ndarray[Any, np.dtype[Any]]

MARGIN = 10.0
"""An exported model may be this many times worse than torch's float32."""

FLOOR: Mapping[str, float] = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 4e-2, "float16": 5e-3}
"""Error that is always allowed, as a part of the output's largest magnitude, by the exported element type.

About 80 units of the last place: two correct float32 networks of 50 layers differ by some 1e-6. Integer outputs
have no floor.
"""


ROUNDING: Mapping[str, float] = {"float16": 2.0**13, "bfloat16": 2.0**16}
"""How many times larger a rounding is than one of float32."""
HALF_MARGIN = 2.0
"""A file in half precision may be this many times worse than its roundings explain: their signs and order differ."""
FULL = "float32"
"""The precision of a file that says nothing else."""


def judged_type(dtype: str, precision: str = FULL) -> str:
    """Return the element type whose floor holds for a value of a file of some precision.

    A half-precision file gives its outputs back in float32, which makes them no better.

    >>> judged_type("float32", "float16"), judged_type("int64", "float16"), judged_type("float32")
    ('float16', 'int64', 'float32')
    """
    return precision if dtype == FULL else dtype


@dataclass(frozen=True, slots=True)
class Errors:
    """Distances from the float64 twin, for one value on one input, or the largest of several.

    Attributes:
        error: Largest absolute difference of the exported model.
        torch_error: Largest absolute difference of the float32 twin; 0 where it was not run.
        scale: Largest magnitude of the float64 twin.
        runtime_error: What the runtime's own operators may add.
        fault: What makes a comparison of numbers pointless: NaN, infinity, another shape; empty where nothing does.
    """

    error: float = 0.0
    torch_error: float = 0.0
    scale: float = 0.0
    runtime_error: float = 0.0
    fault: str = ""

    def allowed(self, dtype: str) -> float:
        """Return the largest error that passes for an exported value of element type ``dtype``.

        >>> Errors(torch_error=1e-6, scale=2.0).allowed("float32")
        3e-05
        """
        margin = HALF_MARGIN * ROUNDING[dtype] if dtype in ROUNDING else MARGIN
        return margin * self.torch_error + FLOOR.get(dtype, 0.0) * self.scale + self.runtime_error

    def passed(self, dtype: str) -> bool:
        """Whether the exported model is as good as it must be."""
        return not self.fault and self.error <= self.allowed(dtype)

    def joined(self, other: Errors) -> Errors:
        """Return the largest of both."""
        return Errors(
            max(self.error, other.error),
            max(self.torch_error, other.torch_error),
            max(self.scale, other.scale),
            max(self.runtime_error, other.runtime_error),
            self.fault or other.fault,
        )


def measure(exported: Array, double: Array) -> Errors:
    """Compare one value of an exported model with the float64 twin."""
    if exported.shape != double.shape:
        return Errors(fault=f"shape {shape_text(exported.shape)} instead of {shape_text(double.shape)}")
    # A NaN on both sides is a failure too: the file is to be used, and computes nothing there.
    for who, array in (("the exported model", exported), ("the float64 twin", double)):
        if fault := _not_finite(who, array):
            return Errors(fault=fault)
    return Errors(_largest(exported - double), scale=_largest(double))


def with_torch(errors: Errors, single: Array, double: Array) -> Errors:
    """Add what torch's float32 itself misses."""
    if errors.fault:
        return errors
    if fault := _not_finite("the float32 twin", single):
        return Errors(fault=fault)
    return replace(errors, torch_error=_largest(single - double))


def _not_finite(who: str, array: Array) -> str:
    if np.isfinite(array).all():
        return ""
    return f"{who} gives {'NaN' if np.isnan(array).any() else 'infinity'}"


def _largest(array: Array) -> float:
    return float(np.abs(array).max(initial=0.0))
