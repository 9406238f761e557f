"""Parity: an exported file computes what its trained twin computes, or it is not delivered."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from trunkline.errors import InvalidConfig, ParityFailure, Problem
from trunkline.export.locate import Divergence, locate
from trunkline.export.probes import Probe, probes
from trunkline.export.reference import Reference
from trunkline.export.session import Model, Session, require_onnxruntime
from trunkline.export.text import quoted
from trunkline.export.tolerance import Errors, measure
from trunkline.export.weights import Weights
from trunkline.ingest.graph import Graph
from trunkline.spinning import spin_only_when_quiet
from trunkline.supermodel.twins.module import Twin


@dataclass(frozen=True, slots=True)
class OutputParity:
    """The verdict on one output, at the class of inputs that came closest to its limit.

    Attributes:
        name: The output.
        max_abs: Largest absolute error against the float64 twin.
        max_rel: ``max_abs`` as a part of the output's largest magnitude.
        torch_error: Largest absolute error of the float32 twin.
        tolerance: Largest ``max_abs`` that passes; see :mod:`trunkline.export.tolerance`.
        passed: The verdict.
        note: Why no numbers could be compared: NaN, infinity, a wrong shape, a missing output.
    """

    name: str
    max_abs: float
    max_rel: float
    torch_error: float
    tolerance: float
    passed: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class ParityReport:
    """The verdict on an exported file.

    Attributes:
        outputs: One verdict per output.
        inputs: Number of input batches compared.
        seed: Seed of the inputs.
        divergence: The first node that is wrong, where parity failed and it was found.
    """

    outputs: tuple[OutputParity, ...]
    inputs: int
    seed: int = 0
    divergence: Divergence | None = None

    @property
    def passed(self) -> bool:
        """Whether every output passed."""
        return all(output.passed for output in self.outputs)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON types; a number that is not finite becomes None."""
        rows = [{key: _finite(item) for key, item in asdict(output).items()} for output in self.outputs]
        where = None if self.divergence is None else asdict(self.divergence)
        return {"passed": self.passed, "inputs": self.inputs, "seed": self.seed, "outputs": rows, "divergence": where}

    def table(self) -> str:
        """Return the verdicts as text, one line per output."""
        return "\n".join(_row(output) for output in self.outputs)

    def raise_if_failed(self) -> None:
        """Raise a ParityFailure that carries the failed outputs and the first wrong node."""
        if self.passed:
            return
        failed = [Problem(_row(output)) for output in self.outputs if not output.passed]
        where = "every exposed value agrees: the runtime's own fusion of nodes is wrong"
        headline = f"{len(failed)} of {len(self.outputs)} outputs do not compute what the trained twin computes"
        raise ParityFailure([Problem(headline), *failed, Problem(str(self.divergence or where))])


@spin_only_when_quiet()
def check_parity(
    model: Model, reference: Graph | Twin, *, weights: Weights | None = None, inputs: int = 32, seed: int = 0
) -> ParityReport:
    """Compare an ONNX file in onnxruntime (CPU) with the twin it was made from.

    Args:
        model: The exported file, or its bytes.
        reference: The Graph it was exported from, or the trained twin of that.
        weights: Trained weights by ONNX name, for a Graph.
        inputs: Number of seeded input batches; see :mod:`trunkline.export.probes`.
        seed: Their seed.

    Raises:
        InvalidConfig: There are no inputs to compare.
        WorkFailed: onnxruntime is not installed.
    """
    if inputs < 1:
        raise InvalidConfig(f"parity needs at least 1 input, not {inputs}", place="parity.inputs", advice="32 is usual")
    require_onnxruntime()
    truth = Reference(reference, weights)
    tally = _Tally(truth.outputs)
    _compare(model, truth, probes(inputs, truth.image_shape, seed=seed), tally)
    verdicts = tuple(tally.verdicts())
    probe = tally.culprit()
    divergence = None if probe is None else locate(model, truth, probe.image)
    return ParityReport(verdicts, inputs, seed, divergence)


class _Tally:
    """The largest errors so far, per output and class of inputs."""

    def __init__(self, outputs: Iterable[str]) -> None:
        self.errors: dict[str, dict[str, Errors]] = {name: {} for name in outputs}
        self._dtype: dict[str, str] = {}
        self._worst: dict[tuple[str, str], tuple[float, Probe]] = {}

    def add(self, name: str, probe: Probe, errors: Errors, dtype: str) -> None:
        if errors.fault:
            errors = Errors(fault=f"{errors.fault} on input {probe.index} ({probe.kind})")
        classes, key = self.errors[name], (name, probe.amplitude)
        classes[probe.amplitude] = classes.get(probe.amplitude, Errors()).joined(errors)
        self._dtype[name] = dtype
        size = math.inf if errors.fault else errors.error
        if key not in self._worst or size > self._worst[key][0]:
            self._worst[key] = size, probe

    def verdicts(self) -> Iterator[OutputParity]:
        for name in self.errors:
            errors = self.errors[name][self._hardest(name)]
            tolerance = errors.allowed(self._dtype[name])
            part = errors.error / errors.scale if errors.scale else 0.0
            passed = errors.passed(self._dtype[name])
            yield OutputParity(name, errors.error, part, errors.torch_error, tolerance, passed, errors.fault)

    def culprit(self) -> Probe | None:
        """Return the input that shows the failure of the first failed output most clearly."""
        for name, classes in self.errors.items():
            hardest = self._hardest(name)
            if not classes[hardest].passed(self._dtype[name]):
                return self._worst[name, hardest][1]
        return None

    def _hardest(self, name: str) -> str:
        return max(self.errors[name], key=lambda amplitude: self._strain(name, amplitude))

    def _strain(self, name: str, amplitude: str) -> float:
        """How much of the tolerance is used: above 1 is a failure."""
        errors = self.errors[name][amplitude]
        if errors.fault:
            return math.inf
        allowed = errors.allowed(self._dtype[name])
        return errors.error / allowed if allowed else math.inf if errors.error else 0.0


def _compare(model: Model, truth: Reference, batches: Iterator[Probe], tally: _Tally) -> None:
    """Run both sides on every probe; a model that does not run fails all outputs at once."""
    session: Session | None = None
    for probe in batches:
        try:
            session = session or Session(model)
            found = session.run(probe.image)
        except ParityFailure as error:
            for name in truth.outputs:
                tally.add(name, probe, Errors(fault=error.problems[0].message), "")
            return
        for name, (single, double) in truth.run(probe.image).items():
            if name in found:
                tally.add(name, probe, measure(found[name], single, double), str(found[name].dtype))
            else:
                tally.add(name, probe, Errors(fault="the exported model has no such output"), "")


def _row(output: OutputParity) -> str:
    verdict = "passed" if output.passed else "FAILED"
    if output.note:
        return f"{quoted(output.name)} {verdict}: {output.note}"
    return (
        f"{quoted(output.name)} {verdict}: error {output.max_abs:.3g} ({output.max_rel:.2g} of the largest magnitude), "
        f"allowed {output.tolerance:.3g}; torch float32 itself: {output.torch_error:.3g}"
    )


def _finite(item: Any) -> Any:
    return None if isinstance(item, float) and not math.isfinite(item) else item
