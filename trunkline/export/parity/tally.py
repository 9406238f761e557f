"""The largest errors of a model so far, by output and class of probes, and the verdict that follows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trunkline.export.parity.probes import Amplitude, Probe
from trunkline.export.parity.reference import Array
from trunkline.export.parity.tolerance import Errors, with_torch


@dataclass(frozen=True, slots=True)
class OutputParity:
    """The verdict on one output, at the class of inputs that came closest to its limit.

    Attributes:
        name: The output.
        max_abs: Largest absolute error against the float64 twin.
        max_rel: ``max_abs`` as a part of the output's largest magnitude.
        torch_error: Largest absolute error of the float32 twin, on the inputs it was run on: one of each class, and all
            of a class that would fail without.
        tolerance: Largest ``max_abs`` that passes; see :mod:`trunkline.export.parity.tolerance`.
        passed: The verdict.
        note: Where it failed, why no numbers could be compared: NaN, infinity, a wrong shape, a missing output. Where
            it passed, which operators of the runtime the tolerance takes into account.
    """

    name: str
    max_abs: float
    max_rel: float
    torch_error: float
    tolerance: float
    passed: bool
    note: str = ""


class Tally:
    """Collects the errors of one trial."""

    def __init__(self, outputs: Sequence[str]) -> None:
        self.errors: dict[str, dict[Amplitude, Errors]] = {name: {} for name in outputs}
        self._dtype: dict[str, str] = {}
        self._worst: dict[tuple[str, Amplitude], tuple[float, Probe]] = {}
        self._with_torch: set[int] = set()

    def is_new(self, amplitude: Amplitude) -> bool:
        """Whether no probe of this class was added yet."""
        return not any(amplitude in classes for classes in self.errors.values())

    def add(self, name: str, probe: Probe, errors: Errors, dtype: str) -> None:
        """Add what output ``name``, of element type ``dtype``, misses on ``probe``."""
        if errors.fault:
            errors = Errors(fault=f"{errors.fault} on input {probe.index} ({probe.kind})")
        self._join(name, probe.amplitude, errors)
        self._dtype[name] = dtype
        # A fault has no size: it counts as the worst that can be.
        size = math.inf if errors.fault else errors.error
        key = name, probe.amplitude
        if key not in self._worst or size > self._worst[key][0]:
            self._worst[key] = size, probe

    def add_torch(self, name: str, probe: Probe, single: Array, double: Array) -> None:
        """Add what torch's float32 misses on ``probe``."""
        self._with_torch.add(probe.index)
        self._join(name, probe.amplitude, with_torch(Errors(), single, double))

    def allow(self, name: str, amplitude: Amplitude, runtime_error: float) -> None:
        """Allow for so much error of the runtime's own operators, in one class of probes."""
        self._join(name, amplitude, Errors(runtime_error=runtime_error))

    def has_torch(self, probe: Probe) -> bool:
        """Whether the error of torch's float32 on ``probe`` is counted already."""
        return probe.index in self._with_torch

    def failed(self, name: str) -> list[Amplitude]:
        """Return the classes of probes in which output ``name`` is not as good as it must be, so far."""
        classes = self.errors[name].items()
        return [amplitude for amplitude, errors in classes if not errors.passed(self._dtype[name])]

    def worst(self, name: str, amplitude: Amplitude) -> Probe:
        """Return the probe of a class that shows most clearly what ``name`` misses."""
        return self._worst[name, amplitude][1]

    def hardest(self, name: str) -> Amplitude:
        """Return the class of probes that came closest to its limit, or went beyond it furthest."""
        return max(self.errors[name], key=lambda amplitude: self._strain(name, amplitude))

    def verdict(self, name: str, note: str) -> OutputParity:
        """Return the verdict on output ``name``; ``note`` is what it takes into account."""
        errors = self.errors[name][self.hardest(name)]
        tolerance = errors.allowed(self._dtype[name])
        part = errors.error / errors.scale if errors.scale else 0.0
        passed = errors.passed(self._dtype[name])
        # A failed output shows why its numbers mean nothing; what would have been allowed for is of no interest then.
        note = note if passed else errors.fault
        return OutputParity(name, errors.error, part, errors.torch_error, tolerance, passed, note)

    def _join(self, name: str, amplitude: Amplitude, errors: Errors) -> None:
        classes = self.errors[name]
        classes[amplitude] = classes.get(amplitude, Errors()).joined(errors)

    def _strain(self, name: str, amplitude: Amplitude) -> float:
        """How much of the tolerance is used: above 1 is a failure."""
        errors = self.errors[name][amplitude]
        if errors.fault:
            return math.inf
        allowed = errors.allowed(self._dtype[name])
        # Integer outputs have no floor, and torch may be exact: then any error at all is too much.
        if allowed == 0:
            return math.inf if errors.error else 0.0
        return errors.error / allowed
