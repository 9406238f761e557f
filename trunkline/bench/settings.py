"""How to measure: every choice that a latency depends on, in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from trunkline.bench.statistics import minimum_samples
from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.graph.input_size import InputSize

PROVIDERS = ("cpu", "cuda", "tensorrt")
PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class Settings:
    """What is run, on what, and for how long.

    Attributes:
        batch: Number of images in one run.
        input_size: Height and width, or channels, height and width, of images whose size the file leaves open.
        axes: Sizes of other free axes, by name, or by ``INPUT:INDEX`` for one that has none.
        provider: ``cpu``, ``cuda`` or ``tensorrt``.
        precision: What a file's float32 may be computed in. What a file itself has in less stays as it is.
        threads: Threads inside one operator; the bench never lets a runtime choose.
        spinning: Whether idle threads burn cycles while they wait. Off: it flatters whoever runs last.
        inputs: Number of different random inputs, used in turn, so that no cache can answer.
        seed: Seed of the inputs, of the order within a round, and of the rounds whose outputs are checked.
        minimum_samples: Rounds to run at least. With 100, a difference of 10 % is found 95 times in 100 even where
            each run varies by 8 % and a neighbour hits one in twenty; p90 needs 64, p99 needs 662.
        minimum_seconds: Time to measure at least, over all candidates.
        limit_seconds: Time after which no further round begins, once the median has its 11 samples.
        warm_up_seconds: Time to warm up at least, over all candidates.
        warm_up_limit_seconds: Time after which warming up ends even if the running median still moves.
        output_tolerance: Largest difference between two runs on the same input, relative to the largest value.
    """

    batch: int = 1
    input_size: InputSize | None = None
    axes: Mapping[str, int] = field(default_factory=dict)
    provider: str = "cpu"
    precision: str = "float32"
    threads: int = 1
    spinning: bool = False
    inputs: int = 4
    seed: int = 0
    minimum_samples: int = 100
    minimum_seconds: float = 3.0
    limit_seconds: float = 120.0
    warm_up_seconds: float = 0.2
    warm_up_limit_seconds: float = 20.0
    output_tolerance: float = 1e-3

    def __post_init__(self) -> None:
        problems = [*self._numbers_at_fault(), *_choice_at_fault("provider", self.provider, PROVIDERS)]
        problems += _choice_at_fault("precision", self.precision, PRECISIONS)
        if problems:
            raise InvalidConfig(problems)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return asdict(self)

    def _numbers_at_fault(self) -> list[Problem]:
        # Below the samples of a median no result could be reported.
        least = {"batch": 1, "threads": 1, "inputs": 1, "seed": 0, "minimum_samples": minimum_samples(0.5)}
        least |= {"minimum_seconds": 0, "limit_seconds": 0, "warm_up_seconds": 0, "warm_up_limit_seconds": 0}
        least |= {"output_tolerance": 0}
        found = [(key, getattr(self, key), bound) for key, bound in least.items()]
        found += [(f"axes.{name}", size, 1) for name, size in self.axes.items()]
        found += [("input_size", size, 1) for size in self.input_size or ()]
        return [
            Problem(f"{value:g} is less than {bound}", place=f"bench.{key}", advice=f"use {bound} or more")
            for key, value, bound in found
            # Written this way round, NaN is at fault too.
            if not value >= bound
        ]


def _choice_at_fault(key: str, value: str, known: Sequence[str]) -> list[Problem]:
    if value in known:
        return []
    advice = did_you_mean(value, known) or f"use one of {', '.join(known)}"
    return [Problem(f'unknown {key} "{value}"', place=f"bench.{key}", advice=advice)]
