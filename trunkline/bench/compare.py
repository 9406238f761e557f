"""Candidates side by side: paired ratios against the first, and against what their work alone would allow."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from trunkline.bench.agreement import AGREES_WITHIN, QUANTISED_WITHIN
from trunkline.bench.candidate import Candidate, Macs
from trunkline.bench.device.conditions import Conditions
from trunkline.bench.environment import Environment
from trunkline.bench.footprint import UNKNOWN_FOOTPRINT, Footprint
from trunkline.bench.latency import Latency
from trunkline.bench.parameters import Parameters
from trunkline.bench.protocol import Progress, measure
from trunkline.bench.regression import Change
from trunkline.bench.runtimes.registry import DEFAULT_RUNTIME
from trunkline.bench.settings import Settings
from trunkline.bench.statistics import Verdict, paired_ratio, verdict

_MS_PER_S = 1000.0


@dataclass(frozen=True, slots=True)
class Ratio:
    """One candidate against the first.

    Attributes:
        name: Name of the candidate.
        against: Name of the first candidate.
        ratio: Median over rounds of its time divided by the first one's; below 1 is faster.
        ci: Interval of ``ratio`` at 99 %.
        verdict: What the interval proves, beyond a margin of 2 %.
        reason: Why one of the two latencies is not steady, so that the ratio may not be either; empty if both are.
    """

    name: str
    against: str
    ratio: float
    ci: tuple[float, float]
    verdict: Verdict
    reason: str = ""

    @property
    def stable(self) -> bool:
        """Whether both latencies are steady."""
        return not self.reason

    @property
    def speed_up(self) -> float:
        """How many times faster than the first."""
        return 1 / self.ratio

    @property
    def different(self) -> bool:
        """Whether a difference is proved."""
        return self.verdict in ("slower", "faster")

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "name": self.name,
            "against": self.against,
            "ratio": self.ratio,
            "ci": list(self.ci),
            "speed_up": self.speed_up,
            # The reciprocal turns the ends of an interval round.
            "speed_up_ci": [1 / self.ci[1], 1 / self.ci[0]],
            "verdict": self.verdict,
            "different": self.different,
            "stable": self.stable,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Bound:
    """A candidate's time against the time its work would take at the first candidate's rate.

    The first candidate sets the rate, so a value below 1 is possible and means a better rate than the first's.

    Attributes:
        name: Name of the candidate.
        macs_ratio: Its work divided by the first one's.
        bound_ms: The first one's p50 times ``macs_ratio``.
        time_over_bound: Paired time ratio divided by ``macs_ratio``; 1 means that all work saved is time saved.
    """

    name: str
    macs_ratio: float
    bound_ms: float
    time_over_bound: float

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "macs_ratio": self.macs_ratio,
            "bound_ms": self.bound_ms,
            "time_over_bound": self.time_over_bound,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of one measurement.

    Attributes:
        latencies: One for each candidate, in the order given; the first is the baseline.
        ratios: Of every other candidate against the first.
        macs: Executed work by name, where it could be counted.
        parameters: Stored numbers by name, where they could be counted.
        bounds: Bounds by name, where the work of both is known.
        settings: How it was measured.
        environment: The machine and the software it was measured on.
        conditions: The device before and after.
        footprints: Disk, memory and start-up by name.
        differences: How far outputs are from onnxruntime's, by name, where they were compared.
        changes: What models lose or gain in accuracy against single-task models, by name, where they were trained: the
            mean over metrics in percent (Δ).
        left_out: Why models that need not be there are not, by name: this runtime cannot load them.
        runtime: Name of what ran them.
        against: What changed since an earlier measurement, of this one and all further ones, where there is one.
        further: The same models on other runtimes and at other batch sizes, each a measurement of its own.
    """

    latencies: tuple[Latency, ...]
    ratios: tuple[Ratio, ...]
    macs: Mapping[str, Macs] = field(default_factory=dict)
    parameters: Mapping[str, Parameters] = field(default_factory=dict)
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    environment: Environment = field(default_factory=Environment)
    conditions: Conditions = field(default_factory=Conditions)
    footprints: Mapping[str, Footprint] = field(default_factory=dict)
    differences: Mapping[str, float] = field(default_factory=dict)
    changes: Mapping[str, float] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    runtime: str = DEFAULT_RUNTIME
    against: tuple[Change, ...] = ()
    further: tuple[Comparison, ...] = ()

    @property
    def stable(self) -> bool:
        """Whether every latency is steady; where not, a strict caller refuses the numbers."""
        return all(latency.stable for latency in self.latencies)

    @property
    def agrees(self) -> bool:
        """Whether all outputs that were compared with onnxruntime's are its own, but for rounding."""
        return all(difference <= self._tolerance(name) for name, difference in self.differences.items())

    def _tolerance(self, name: str) -> float:
        within = AGREES_WITHIN[self.settings.precision]
        is_quantised = any(latency.quantised for latency in self.latencies if latency.name == name)
        return max(within, QUANTISED_WITHIN) if is_quantised else within

    def to_json(self) -> dict[str, Any]:
        """Return plain data; each of ``further`` has those of what was measured, and ``runtime``."""
        # All were measured on one machine, so it is written once.
        others = [{**one.measured_json(), "runtime": one.runtime} for one in self.further]
        return {
            **self.measured_json(),
            "runtime": self.runtime,
            "environment": self.environment.to_json(),
            "against": [change.to_json() for change in self.against],
            "further": others,
        }

    def measured_json(self) -> dict[str, Any]:
        """Return what was measured, without where."""
        return {
            "models": [self._model(latency) for latency in self.latencies],
            "ratios": [ratio.to_json() for ratio in self.ratios],
            "stable": self.stable,
            "left_out": dict(self.left_out),
            "settings": self.settings.to_json(),
            "device": self.conditions.to_json(),
        }

    def _model(self, latency: Latency) -> dict[str, Any]:
        # All models share one environment and one time, so these are written once, beside them.
        row = {key: value for key, value in latency.to_json().items() if key not in ("environment", "device")}
        macs, bound = self.macs.get(latency.name), self.bounds.get(latency.name)
        # A row has all keys, with None for what is not known: readers then need not test for them.
        row["images_per_s"] = self.settings.batch * _MS_PER_S / latency.p50_ms
        row |= self.footprints.get(latency.name, UNKNOWN_FOOTPRINT).to_json()
        difference = self.differences.get(latency.name)
        row |= {
            "difference": difference,
            "agrees": None if difference is None else difference <= self._tolerance(latency.name),
        }
        row |= macs.to_json() if macs else dict.fromkeys(("macs", "backbone_macs", "head_macs"))
        parameters = self.parameters.get(latency.name)
        row |= parameters.to_json() if parameters else dict.fromkeys(("parameters", "paper_parameters"))
        row["change_percent"] = self.changes.get(latency.name)
        return row | (bound.to_json() if bound else dict.fromkeys(("macs_ratio", "bound_ms", "time_over_bound")))


def compare(
    latencies: Sequence[Latency], macs: Mapping[str, Macs] | None = None, *, settings: Settings | None = None
) -> Comparison:
    """Compare latencies that were measured together, so that their samples are paired by round.

    Args:
        latencies: From one call of :func:`~trunkline.bench.protocol.measure`; the first is the baseline.
        macs: Executed work by candidate, where known.
        settings: What ``measure`` was given.

    Raises:
        ValueError: There is no latency, or the numbers of samples differ.
    """
    if not latencies:
        raise ValueError("there is no latency to compare")
    first = latencies[0]
    ratios = tuple(_ratio(first, other) for other in latencies[1:])
    values = {first.name: 1.0} | {ratio.name: ratio.ratio for ratio in ratios}
    macs = macs or {}
    bounds = _bounds(first, values, macs)
    settings = settings or Settings()
    found = Comparison(tuple(latencies), ratios, macs, bounds=bounds, settings=settings, environment=first.environment)
    return replace(found, conditions=first.conditions)


def bench(
    candidates: Sequence[Candidate],
    settings: Settings | None = None,
    *,
    runtime: str = DEFAULT_RUNTIME,
    progress: Progress | None = None,
) -> Comparison:
    """Measure candidates and compare them with the first; see :func:`~trunkline.bench.protocol.measure`."""
    settings = settings or Settings()
    latencies = measure(candidates, settings, progress=progress)
    macs = {candidate.name: candidate.macs for candidate in candidates if candidate.macs is not None}
    parameters = {candidate.name: candidate.parameters for candidate in candidates if candidate.parameters is not None}
    footprints = {candidate.name: candidate.footprint for candidate in candidates}
    found = {candidate.name: candidate.difference for candidate in candidates}
    differences = {name: difference for name, difference in found.items() if difference is not None}
    compared = compare(latencies, macs, settings=settings)
    known = replace(compared, parameters=parameters, footprints=footprints)
    return replace(known, differences=differences, runtime=runtime)


def with_work_of(compared: Comparison, model: str, others: Collection[str]) -> Comparison:
    """Return a comparison in which other forms of a model, which cannot be counted, have the work of that model.

    Args:
        compared: A measurement.
        model: Name of a candidate that was counted.
        others: Names of candidates with the same layers in another precision; what was not measured is left out.
    """
    measured = {latency.name for latency in compared.latencies} & set(others)
    macs, parameters = dict(compared.macs), dict(compared.parameters)
    if model in macs:
        macs.update(dict.fromkeys(measured, macs[model]))
    if model in parameters:
        parameters.update(dict.fromkeys(measured, parameters[model]))
    first = compared.latencies[0]
    values = {first.name: 1.0} | {ratio.name: ratio.ratio for ratio in compared.ratios}
    return replace(compared, macs=macs, parameters=parameters, bounds=_bounds(first, values, macs))


def _ratio(first: Latency, other: Latency) -> Ratio:
    estimate = paired_ratio(first.samples_ms, other.samples_ms)
    unsteady = [latency for latency in (first, other) if not latency.stable]
    reason = "; ".join(f"{latency.name}: {latency.reason}" for latency in unsteady)
    return Ratio(other.name, first.name, estimate.value, estimate.interval, verdict(estimate), reason)


def _bounds(first: Latency, ratios: Mapping[str, float], macs: Mapping[str, Macs]) -> dict[str, Bound]:
    # A network of nothing but activations has no MACs, and so no rate.
    base = macs.get(first.name)
    if base is None or base.total == 0:
        return {}
    bounds = {}
    for name, ratio in ratios.items():
        if name in macs and macs[name].total > 0:
            share = macs[name].total / base.total
            bounds[name] = Bound(name, share, bound_ms=first.p50_ms * share, time_over_bound=ratio / share)
    return bounds
