"""Whether a runtime computes what onnxruntime computes on the CPU: the speed of something else means nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from trunkline.bench.candidate import Candidate
from trunkline.bench.runtimes.inputs import Array
from trunkline.bench.runtimes.registry import DEFAULT_RUNTIME, runtime_class
from trunkline.bench.settings import Settings
from trunkline.errors import TrunklineError
from trunkline.graph.graph import Graph
from trunkline.limits import DEFAULT_LIMITS, Limits

AGREES_WITHIN: Mapping[str, float] = {"float32": 1e-3, "float16": 1e-2, "bfloat16": 5e-2}
"""Largest difference from onnxruntime on the CPU, relative to the largest value of an output, by precision.

Of float32 that is a thousand times what rounding does; of the others, ten units or less of their 10 and 7 bits.
"""

QUANTISED_WITHIN = 0.1
"""The same of a file in 8-bit integers: runtimes round to steps of one in 256 at other places, layer after layer."""

Outputs = Sequence[Mapping[str, Array]]
"""Outputs by name, one mapping for each input that was tried."""
_INPUTS = 2


class ReferenceOutputs:
    """What onnxruntime's CPU provider gives for the first inputs, model by model; each is run once."""

    def __init__(self, settings: Settings, limits: Limits = DEFAULT_LIMITS) -> None:
        # Threads and spinning change no number that matters here, and one thread disturbs least.
        self._settings = replace(settings, provider="cpu", threads=1, precision="float32")
        self._runtime = runtime_class(DEFAULT_RUNTIME)(limits)
        self._found: dict[Path, Outputs] = {}

    def of(self, model: Path) -> Outputs:
        """Return the outputs of a file.

        Raises:
            WorkFailed: onnxruntime is not installed, or cannot run the file.
        """
        if model not in self._found:
            with ExitStack() as stack:
                session = self._runtime.prepare(model, self._settings)
                stack.callback(session.close)
                self._found[model] = _run(Candidate(model.name, (session,)), self._settings)[0]
        return self._found[model]


def difference_from(
    reference: ReferenceOutputs, candidate: Candidate, models: Sequence[Path | Graph], settings: Settings
) -> float | None:
    """Return the largest difference of a candidate's outputs from the reference, relative to the largest value.

    It is infinite where outputs differ in number or shape, and ``None`` where there is no reference: models that are
    no files, or files that onnxruntime cannot run, such as prototxts.
    """
    try:
        expected = [reference.of(model) for model in models if isinstance(model, Path)]
    except TrunklineError:
        return None
    if len(expected) < len(models):
        return None
    pairs = zip(_run(candidate, settings), expected, strict=True)
    return max(difference(*each) for outputs in pairs for each in zip(*outputs, strict=True))


def difference(mine: Mapping[str, Array], theirs: Mapping[str, Array]) -> float:
    """Return how far outputs are apart, relative to the largest value of each; infinite where they do not match.

    >>> difference({"y": np.array([1.0, 2.0])}, {"y": np.array([1.0, 4.0])})
    0.5
    """
    if len(mine) != len(theirs):
        return math.inf
    # A runtime may have names of its own; their order is the file's.
    ordered = [mine[name] for name in theirs] if mine.keys() == theirs.keys() else [*mine.values()]
    return max((_apart(*pair) for pair in zip(ordered, theirs.values(), strict=True)), default=0.0)


def _apart(mine: Array, theirs: Array) -> float:
    if mine.shape != theirs.shape:
        return math.inf
    # A detector may find nothing; there is no largest value then.
    if mine.size == 0:
        return 0.0
    first, second = mine.astype(np.float64), theirs.astype(np.float64)
    apart, scale = float(np.max(np.abs(first - second))), float(np.max(np.abs(second)))
    if not math.isfinite(apart):
        return math.inf
    return apart / scale if scale else math.inf if apart else 0.0


def _run(candidate: Candidate, settings: Settings) -> list[Outputs]:
    """Return the outputs of each session for the first inputs."""
    rounds = []
    for index in range(min(_INPUTS, settings.inputs)):
        candidate.feed(index)
        candidate.run()
        rounds.append(candidate.outputs())
    return [list(outputs) for outputs in zip(*rounds, strict=True)]
