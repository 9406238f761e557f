"""Parity: an exported file computes what its trained twin computes, or it is not delivered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

from trunkline.errors import InvalidConfig, ParityFailure, Problem
from trunkline.export.parity.locate import Divergence, load_without_data, locate
from trunkline.export.parity.probes import Amplitude, Probe, probes
from trunkline.export.parity.reference import Array, Reference
from trunkline.export.parity.runtime_precision import disturbances, limited_nodes
from trunkline.export.parity.session import Model, require_onnxruntime, run_file
from trunkline.export.parity.tally import OutputParity, Tally
from trunkline.export.parity.tolerance import FULL, MARGIN, ROUNDING, Errors, judged_type, measure
from trunkline.export.weights import Weights
from trunkline.graph.graph import Graph, shape_of
from trunkline.spinning import spin_only_when_quiet
from trunkline.text import quoted
from trunkline.twins.twin import Twin


@dataclass(frozen=True, slots=True)
class ParityReport:
    """The verdict on an exported file.

    Attributes:
        outputs: One verdict per output.
        inputs: Number of input batches compared.
        seed: Seed of the inputs.
        divergence: The first node that is wrong, where parity failed and it was found.
        precision: What the file computes in.
    """

    outputs: tuple[OutputParity, ...]
    inputs: int
    seed: int = 0
    divergence: Divergence | None = None
    precision: str = FULL

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
        # Exposing every value keeps the runtime from fusing nodes, so a wrong fusion cannot be found this way.
        failed = [Problem(_row(output)) for output in self.outputs if not output.passed]
        where = "every exposed value agrees: the runtime's own fusion of nodes is wrong"
        if self.precision in ROUNDING:
            where = f"every node by itself is as exact as {self.precision} lets it be: together they are not"
        headline = f"{len(failed)} of {len(self.outputs)} outputs do not compute what the trained twin computes"
        raise ParityFailure([Problem(headline), *failed, Problem(str(self.divergence or where))])


@spin_only_when_quiet()
def check_parity(
    model: Model,
    reference: Graph | Twin,
    *,
    weights: Weights | None = None,
    inputs: int = 32,
    seed: int = 0,
    precision: str = FULL,
) -> ParityReport:
    """Compare an ONNX file in onnxruntime (CPU) with the twin it was made from.

    Args:
        model: The exported file, or its bytes.
        reference: The Graph it was exported from, or the trained twin of that.
        weights: Trained weights by ONNX name, for a Graph.
        inputs: Number of seeded input batches; see :mod:`trunkline.export.parity.probes`.
        seed: Their seed.
        precision: What the file computes in; its floor is allowed of every float output.

    Raises:
        InvalidConfig: There are no inputs to compare.
        WorkFailed: onnxruntime is not installed.
    """
    if inputs < 1:
        raise InvalidConfig(f"parity needs at least 1 input, not {inputs}", place="parity.inputs", advice="32 is usual")
    # Before the twin is made, which takes longer than to find this out.
    require_onnxruntime()
    trial = _Trial(model, reference, weights, [*probes(inputs, _image_shape(reference), seed=seed)], precision)
    verdicts = tuple(trial.verdicts())
    return ParityReport(verdicts, inputs, seed, trial.divergence(verdicts), precision)


class _Trial:
    """One model against its twin, on all probes."""

    def __init__(
        self,
        model: Model,
        reference: Graph | Twin,
        weights: Weights | None,
        batches: Sequence[Probe],
        precision: str = FULL,
    ) -> None:
        self._model = model
        self._precision = precision
        self._batches = batches
        self._located: dict[int, Divergence | None] = {}
        runs = run_file(model, batches)
        first = next(runs)
        # Made after the first run of the file: the runtime takes most memory while it loads.
        self._truth = Reference(reference, weights)
        self._tally = Tally(self._truth.outputs)
        for probe, found in chain([first], runs):
            self._compare(probe, found)

    def verdicts(self) -> Iterator[OutputParity]:
        """Yield the verdict on each output, with more comparisons where the first ones fail it."""
        for name in self._truth.outputs:
            # 1. torch's own error in float32, which is known for one probe of each class so far, on all of the class.
            for amplitude in self._tally.failed(name):
                self._add_all_of_torch(amplitude)
            # 2. What the runtime's less exact operators may add, where every node is right by itself.
            notes = [self._excuse(name, amplitude) for amplitude in self._tally.failed(name)]
            yield self._tally.verdict(name, notes[-1] if notes else "")

    def divergence(self, verdicts: Sequence[OutputParity]) -> Divergence | None:
        """Return the first wrong node, for the first output that failed."""
        failed = next((output.name for output in verdicts if not output.passed), None)
        return None if failed is None else self._locate(self._tally.worst(failed, self._tally.hardest(failed)))

    def _compare(self, probe: Probe, found: Mapping[str, Array] | ParityFailure) -> None:
        # A file that does not load or run is a failed comparison of every output, not an error of the check.
        if isinstance(found, ParityFailure):
            for name in self._truth.outputs:
                self._tally.add(name, probe, Errors(fault=found.problems[0].message), "")
            return
        # Torch's float32 takes as long as all else. Where the floor of the tolerance suffices, nothing depends on it.
        is_new = self._tally.is_new(probe.amplitude)
        truth = self._truth.double(probe.image)
        for name, double in truth.items():
            if name in found:
                dtype = judged_type(str(found[name].dtype), self._precision)
                self._tally.add(name, probe, measure(found[name], double), dtype)
            else:
                self._tally.add(name, probe, Errors(fault="the exported model has no such output"), "")
        if is_new:
            self._add_torch(probe, truth)

    def _add_all_of_torch(self, amplitude: Amplitude) -> None:
        for probe in self._batches:
            if probe.amplitude == amplitude and not self._tally.has_torch(probe):
                self._add_torch(probe, self._truth.double(probe.image))

    def _add_torch(self, probe: Probe, truth: Mapping[str, Array]) -> None:
        single = self._truth.single(probe.image)
        for name, double in truth.items():
            self._tally.add_torch(name, probe, single[name], double)

    def _excuse(self, name: str, amplitude: Amplitude) -> str:
        """Allow for the runtime's own operators if nothing but them can be the reason, and return which they are."""
        # NaN or a wrong shape is never a matter of precision.
        if self._tally.errors[name][amplitude].fault:
            return ""
        probe = self._tally.worst(name, amplitude)
        limited = limited_nodes(load_without_data(self._model)[0])
        if not limited:
            return ""
        # A defect as small as what the runtime misses on this image shows on others.
        others = (self._tally.worst(name, other) for other in self._tally.errors[name])
        if any(self._locate(each) is not None for each in (probe, *others)):
            return ""
        self._tally.allow(name, amplitude, MARGIN * disturbances(self._truth, probe.image, limited)[name])
        operators = ", ".join(sorted({node.op_type for node in limited}))
        return f"onnxruntime's {operators} is known to be less exact; every node is right on its own inputs"

    def _locate(self, probe: Probe) -> Divergence | None:
        # Outputs may share their worst probe, and a search runs the model once in the runtime and twice in torch.
        if probe.index not in self._located:
            self._located[probe.index] = locate(self._model, self._truth, probe.image, self._precision)
        return self._located[probe.index]


def _image_shape(reference: Graph | Twin) -> tuple[int, ...]:
    shape = shape_of(reference.input) if isinstance(reference, Graph) else reference.image_shape
    return tuple(size for size in shape[1:] if size is not None)


def _row(output: OutputParity) -> str:
    verdict = "passed" if output.passed else "FAILED"
    if output.note and not output.passed:
        return f"{quoted(output.name)} {verdict}: {output.note}"
    note = f" ({output.note})" if output.note else ""
    return (
        f"{quoted(output.name)} {verdict}: error {output.max_abs:.3g} ({output.max_rel:.2g} of the largest magnitude), "
        f"allowed {output.tolerance:.3g}{note}; torch float32 itself: {output.torch_error:.3g}"
    )


def _finite(item: Any) -> Any:
    # JSON has no NaN and no infinity.
    return None if isinstance(item, float) and not math.isfinite(item) else item
