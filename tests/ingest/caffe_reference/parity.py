"""A case through Trunkline: text → Graph → onnxruntime and twin, beside the reference. Alone here to know Trunkline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch

from caffe_reference.cases import Case
from caffe_reference.evaluate import Array
from caffe_reference.net import prototxt
from trunkline.errors import TrunklineError
from trunkline.graph.graph import Graph, array_of, shape_of
from trunkline.graph.roles import role_of
from trunkline.ingest.prototxt import parse_prototxt
from trunkline.twins.twin import Twin

TOLERANCE = {"onnxruntime": 1e-5, "twin": 1e-6}
"""Largest difference, relative to the largest magnitude of the blob: float32, and float64 with float32 settings."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a case, and the larger of the two differences."""

    status: Literal["same", "refused", "different"]
    detail: str = ""
    difference: float = 0.0


class DifferentError(Exception):
    """Trunkline does not compute what Caffe computes."""


def judge(case: Case) -> Verdict:
    """Compare at the case's batch: shapes exactly, numbers to :data:`TOLERANCE`."""
    try:
        graph = parse_prototxt(prototxt(case.net), "case.prototxt")
    except TrunklineError as error:
        located = all(problem.place for problem in error.problems)
        return Verdict("refused" if located else "different", error.problems[0].message)
    try:
        weights = _stored(graph, case)
        runs = {"onnxruntime": _runtime(graph, case.image), "twin": _twin(graph, weights, case.image)}
        return Verdict("same", difference=max(_difference(side, case, found) for side, found in runs.items()))
    except DifferentError as error:
        return Verdict("different", str(error))
    except (TrunklineError, RuntimeError, ort.capi.onnxruntime_pybind11_state.OrtException) as error:
        return Verdict("different", f"{type(error).__name__}: {error}")


def _stored(graph: Graph, case: Case) -> dict[str, np.ndarray[Any, Any]]:
    """Put the case's weights into the Graph; what Caffe does not have must be neutral."""
    weights = {}
    for (layer, role), content in case.weights.items():
        if role == "factor":  # no weight of the Graph: it divides the other two, below
            continue
        value = _weight(graph, layer, role)
        factor = case.weights.get((layer, "factor"))
        array = (content if factor is None else content / factor).astype(np.float32)
        weights[value.name] = array.reshape(_shape(value, array.shape))
        value.const_value = ir.Tensor(weights[value.name], name=value.name)
    for name, value in graph.initializers.items():
        if name not in weights and role_of(value) != "static" and np.ptp(array_of(value)) != 0:
            raise DifferentError(f"the reference has no weight {name}")
    return weights


def _weight(graph: Graph, layer: str, role: str) -> ir.Value:
    """Return the Graph's value for a blob of the reference."""
    names = [f"{layer}.{role}"]
    if role == "scale":
        names.append(f"{layer}.weight")
    for name in names:
        if name in graph.initializers:
            return graph.initializers[name]
    raise DifferentError(f"there is no weight {names[0]}: {list(graph.initializers)}")


def _shape(value: ir.Value, caffe: tuple[int, ...]) -> tuple[int, ...]:
    """The Graph's shape of a blob, which may differ from Caffe's in axes of size 1 only."""
    shape = tuple(int(size) for size in value.shape)
    if [size for size in shape if size != 1] != [size for size in caffe if size != 1]:
        raise DifferentError(f"weight {value.name} is {shape}, Caffe's is {caffe}")
    return shape


def _runtime(graph: Graph, image: Array) -> list[Array]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # What the Graph computes is compared, not what an optimiser makes of it.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    content = ir.to_proto(graph.model).SerializeToString()
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run([value.name for value in graph.outputs], {graph.input.name: image.astype(np.float32)})


def _twin(graph: Graph, weights: dict[str, np.ndarray[Any, Any]], image: Array) -> list[Array]:
    twin = Twin(graph, weights=weights).double().eval()
    with torch.no_grad():
        outputs = twin(torch.from_numpy(image))
    declared = [(None, *shape_of(value)[1:]) for value in graph.outputs]
    found = [(None, *output.shape[1:]) for output in outputs.values()]
    if declared != found:
        raise DifferentError(f"the Graph declares {declared}, the twin makes {found}")
    return [output.numpy() for output in outputs.values()]


def _difference(side: str, case: Case, found: Sequence[Array]) -> float:
    shapes, expected = [array.shape for array in found], [array.shape for array in case.expected]
    if shapes != expected:
        raise DifferentError(f"{side} makes {shapes}, Caffe {expected}")
    worst = max(_relative(ours, theirs) for ours, theirs in zip(found, case.expected, strict=True))
    if not worst <= TOLERANCE[side]:  # true for NaN as well
        raise DifferentError(f"{side} differs by {worst:.3g} of the largest magnitude")
    return worst


def _relative(ours: Array, theirs: Array) -> float:
    if not theirs.size:
        return 0.0
    scale = float(np.abs(theirs).max()) or 1.0  # of nothing but zeros the difference itself counts
    return float(np.abs(ours - theirs).max()) / scale
