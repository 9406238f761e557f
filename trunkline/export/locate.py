"""Find the node at which an exported model leaves its twin.

Every value of the exported file is made an output, and compared in the order of execution with the value of the same
name in the twin. Values that only one side has (merged, folded, or added by a pass) are passed over; a folded
convolution computes the value that carried BatchNormalization's name, so it is still compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from trunkline.errors import ParityFailure
from trunkline.export.reference import Array, Reference, Truth
from trunkline.export.session import Model, Session
from trunkline.export.text import escaped, quoted
from trunkline.export.tolerance import measure
from trunkline.ingest.graph import SOURCE_KEY


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


def locate(model: Model, reference: Reference, image: Array) -> Divergence | None:
    """Return where the model first differs from ``reference`` on ``image``, or None if no exposed value does.

    Exposing values keeps the runtime from fusing nodes, so None also means: only the fused form is wrong.
    """
    proto, folder = _load(model)
    truth = reference.run_values(image)
    count, values = _longest_run(proto, folder, image)
    for node in proto.graph.node[:count]:
        for name in node.output:
            if name in truth and name in values and (reason := _reason(values[name], truth[name])):
                return _divergence(node, name, reason)
    if count < len(proto.graph.node):
        node = proto.graph.node[count]
        return _divergence(node, node.output[0], "onnxruntime cannot run the node")
    return None


def _reason(found: Array, truth: Truth) -> str:
    errors, dtype = measure(found, *truth), str(found.dtype)
    if errors.passed(dtype):
        return ""
    return errors.fault or f"error {errors.error:.3g}, allowed {errors.allowed(dtype):.3g}"


def _divergence(node: onnx.NodeProto, value: str, reason: str) -> Divergence:
    props = {prop.key: prop.value for prop in node.metadata_props}
    return Divergence(node.name, node.op_type, value, reason, props.get(SOURCE_KEY, ""))


def _load(model: Model) -> tuple[onnx.ModelProto, Path | None]:
    """Return the model without its external data, and the folder where that lies."""
    if isinstance(model, bytes):
        return onnx.load_model_from_string(model), None
    path = Path(model).absolute()
    return onnx.load(path, load_external_data=False), path.parent


def _longest_run(proto: onnx.ModelProto, folder: Path | None, image: Array) -> tuple[int, Mapping[str, Array]]:
    """Return how many nodes run, from the first on, and all their values."""
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
    prefix.graph.ClearField("value_info")
    prefix.graph.ClearField("output")
    names = [name for node in prefix.graph.node for name in node.output if name]
    prefix.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return Session(prefix.SerializeToString(), folder=folder).run(image)
