"""Find the node at which an exported model leaves its twin.

Every value of the exported file is made an output. The twin then computes each of them from the values *that the
runtime found before it*, so that a node is judged on its own inputs: neither can an early error hide a later one, nor
do errors that are each right add up to a wrong one. Values that only one side has (merged, folded, added by a pass) are
passed over; a folded convolution computes the value that carried BatchNormalization's name, so it is still compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from trunkline.errors import ParityFailure
from trunkline.export.parity.reference import Array, Reference
from trunkline.export.parity.runtime_precision import operator_error
from trunkline.export.parity.session import Model, ParitySession
from trunkline.export.parity.tolerance import FULL, judged_type, measure, with_torch
from trunkline.graph.graph import SOURCE_KEY
from trunkline.text import escaped, quoted


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first node, in the order of execution, whose result is wrong.

    Attributes:
        node: Its name in the exported file.
        op: Its operator.
        value: The wrong value.
        reason: How it is wrong.
        source: ``path:line`` in the user's file, where known.
    """

    node: str
    op: str
    value: str
    reason: str
    source: str = ""

    def __str__(self) -> str:
        place = f" ({escaped(self.source)})" if self.source else ""
        return f"the first wrong value is {quoted(self.value)}, of {self.op} {quoted(self.node)}{place}: {self.reason}"


def locate(model: Model, reference: Reference, image: Array, precision: str = FULL) -> Divergence | None:
    """Return the first node that is wrong on what the model itself fed it, or None if every exposed one is right.

    Exposing values keeps the runtime from fusing nodes, so None also means: only the fused form can be wrong.
    """
    proto, folder = load_without_data(model)
    count, values = _longest_run(proto, folder, image)
    single = _own_results(reference, image, values, double=False)
    double = _own_results(reference, image, values, double=True)
    for node in proto.graph.node[:count]:
        for name in node.output:
            # Values that only the file has (merged, folded, added by a pass) cannot be judged.
            if name in double and (reason := _reason(node, name, values, single[name], double[name], precision)):
                return _divergence(node, name, reason)
    # All that ran is right, but the next node does not run: then that one is the fault.
    if count < len(proto.graph.node):
        node = proto.graph.node[count]
        return _divergence(node, node.output[0], "onnxruntime cannot run the node")
    return None


def _own_results(reference: Reference, image: Array, values: Mapping[str, Array], *, double: bool) -> dict[str, Array]:
    """Return what the twin makes of the numbers that the model gave each node, for the values of both."""
    results: dict[str, Array] = {}

    def compare(name: str, value: Array) -> Array:
        found = values.get(name)
        if found is None:
            return value
        results[name] = value
        # Later nodes read what the model found, so that each is judged on its own inputs. A value of a wrong shape is
        # reported, but no later node could go on with it.
        return found.astype(value.dtype) if found.shape == value.shape else value

    reference.values(image, compare, double=double)
    return results


def _reason(
    node: onnx.NodeProto, name: str, values: Mapping[str, Array], single: Array, double: Array, precision: str
) -> str:
    found = values[name]
    dtype = judged_type(str(found.dtype), precision)
    errors = with_torch(measure(found, double), single, double)
    errors = replace(errors, runtime_error=float(operator_error(node, values, double).max()))
    if errors.passed(dtype):
        return ""
    return errors.fault or f"error {errors.error:.3g}, allowed {errors.allowed(dtype):.3g}"


def _divergence(node: onnx.NodeProto, value: str, reason: str) -> Divergence:
    props = {prop.key: prop.value for prop in node.metadata_props}
    return Divergence(node.name, node.op_type, value, reason, props.get(SOURCE_KEY, ""))


def load_without_data(model: Model) -> tuple[onnx.ModelProto, Path | None]:
    """Return the model without its external data, and the folder where that lies."""
    if isinstance(model, bytes):
        return onnx.load_model_from_string(model), None
    path = Path(model).absolute()
    return onnx.load(path, load_external_data=False), path.parent


def _longest_run(proto: onnx.ModelProto, folder: Path | None, image: Array) -> tuple[int, Mapping[str, Array]]:
    """Return how many nodes run, from the first on, and all their values."""
    # A bisection, but the whole model first: nearly always it runs, and only its numbers are wrong.
    works, values = 0, dict[str, Array]()
    fails = len(proto.graph.node) + 1
    tried = fails - 1
    while works + 1 < fails:
        try:
            values = _run_prefix(proto, tried, folder, image)
            works = tried
        except ParityFailure:
            fails = tried
        tried = (works + fails) // 2
    return works, values


def _run_prefix(proto: onnx.ModelProto, count: int, folder: Path | None, image: Array) -> dict[str, Array]:
    prefix = onnx.ModelProto()
    prefix.CopyFrom(proto)
    del prefix.graph.node[count:]
    # Shapes and outputs of nodes that are cut off would be refused.
    prefix.graph.ClearField("value_info")
    prefix.graph.ClearField("output")
    # An optional output may be absent, with an empty name.
    names = [name for node in prefix.graph.node for name in node.output if name]
    prefix.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return ParitySession(prefix.SerializeToString(), folder=folder).run(image)
