"""One candidate's latency: all samples, and only the percentiles that they support."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trunkline.bench.candidate import Candidate
from trunkline.bench.device.conditions import Conditions
from trunkline.bench.environment import Environment
from trunkline.bench.runtimes.inputs import FedInput
from trunkline.bench.stability import instability
from trunkline.bench.statistics import percentile_with_interval


@dataclass(frozen=True, slots=True)
class Latency:
    """The latency of one candidate: what was measured, what it means, and under which conditions.

    Attributes:
        name: Name of the candidate.
        samples_ms: The times, one a round, in the order of the rounds, which all candidates of a measurement share.
        p50_ms: Their median.
        p50_ci_ms: Its interval at 99 %.
        p90_ms: 90th percentile; ``None`` below 64 samples.
        p99_ms: 99th percentile; ``None`` below 662 samples.
        provider: What executed it, as the runtime reports it afterwards.
        threads: Threads inside one operator.
        spinning: Whether idle threads burn cycles; ``None`` where the runtime does not say.
        region: What lies inside the timed region.
        stable: Whether the samples describe one steady latency, and nothing held the device back.
        reason: Why they do not; empty where they do.
        inputs: What it was fed with, session by session.
        runtime: The runtime's name, version and options.
        environment: The machine and the software.
        conditions: The device before and after.
        quantised: Whether it computes in 8-bit integers; ``None`` where that is not known.
        device_p50_ms: Median of what a device of its own took, by its own events; ``None`` where none tells.
    """

    name: str
    samples_ms: tuple[float, ...]
    p50_ms: float
    p50_ci_ms: tuple[float, float]
    p90_ms: float | None
    p99_ms: float | None
    provider: str
    threads: int
    spinning: bool | None
    region: str
    stable: bool
    reason: str
    inputs: tuple[FedInput, ...] = ()
    runtime: Mapping[str, str] = field(default_factory=dict)
    environment: Environment = field(default_factory=Environment)
    conditions: Conditions = field(default_factory=Conditions)
    device_p50_ms: float | None = None
    quantised: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data; ``samples`` is their count, ``samples_ms`` the samples themselves."""
        return {
            "name": self.name,
            "p50_ms": self.p50_ms,
            "p50_ci_ms": list(self.p50_ci_ms),
            "p90_ms": self.p90_ms,
            "p99_ms": self.p99_ms,
            "device_p50_ms": self.device_p50_ms,
            "samples": len(self.samples_ms),
            "provider": self.provider,
            "threads": self.threads,
            "spinning": self.spinning,
            "region": self.region,
            "stable": self.stable,
            "reason": self.reason,
            "inputs": [one.to_json() for one in self.inputs],
            "runtime": dict(self.runtime),
            "quantised": self.quantised,
            "samples_ms": list(self.samples_ms),
            "environment": self.environment.to_json(),
            "device": self.conditions.to_json(),
        }


def summarise(
    candidate: Candidate,
    samples_ms: tuple[float, ...],
    environment: Environment,
    *,
    conditions: Conditions | None = None,
    warm_up_reason: str = "",
) -> Latency:
    """Make a :class:`Latency` of a candidate's samples.

    Args:
        candidate: What was run.
        samples_ms: In the order they were taken, at least 11.
        environment: The machine and the software.
        conditions: The device before and after, where it was watched.
        warm_up_reason: Why warming up ended early; reported beside any reason found in the samples.

    Raises:
        ValueError: There are too few samples for a median.
    """
    median = percentile_with_interval(samples_ms, 0.5)
    if median is None:
        raise ValueError(f"{len(samples_ms)} samples are too few for a median")
    tail = {p: percentile_with_interval(samples_ms, p) for p in (0.90, 0.99)}
    unsteady = instability(samples_ms)
    # Steady samples overrule a warm-up that ended early; where they are not steady, it is part of the reason.
    reasons = [unsteady, warm_up_reason] if unsteady else []
    conditions = conditions or Conditions()
    # Samples of a device that is held back throughout are steady, and too slow.
    reasons += conditions.throttled
    return Latency(
        name=candidate.name,
        samples_ms=samples_ms,
        p50_ms=median.value,
        p50_ci_ms=median.interval,
        p90_ms=None if tail[0.90] is None else tail[0.90].value,
        p99_ms=None if tail[0.99] is None else tail[0.99].value,
        provider=candidate.provider,
        threads=candidate.threads,
        spinning=candidate.spinning,
        region=candidate.region,
        stable=not reasons,
        reason="; ".join(filter(None, reasons)),
        inputs=candidate.inputs,
        # All sessions of a candidate are made by one runtime.
        runtime=candidate.sessions[0].describe(),
        environment=environment,
        conditions=conditions,
        quantised=candidate.quantised,
    )
