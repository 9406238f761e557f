"""A half-precision file as float32 nodes between roundings: what its numbers come to, on any machine.

onnxruntime's processor kernels compute most operators in float32 only, and drop the casts that it puts between them. So
a file whose numbers overflow in half precision seems right there, and bfloat16 does not run at all. Here every value is
rounded where the file says that it is stored in half precision; sums are taken in float32, as tensor cores take them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

from trunkline.export.parity.check import ParityReport
from trunkline.export.precision.half import HALF
from trunkline.graph.graph import name_of
from trunkline.graph.passes.editor import Editor, redirect

ROUNDED = ".rounded"
"""Ends the name of a node that rounds what the node of the name before computes."""
_HALF = frozenset(HALF.values())


def write_emulated(path: Path, target: Path) -> None:
    """Write the half-precision file ``path`` as float32 nodes between roundings."""
    model = ir.load(path)
    _Emulation(model.graph).run()
    ir.save(model, target)


def of_the_file(report: ParityReport) -> ParityReport:
    """Return a report on an emulated file as one on the file that it emulates: by that one's names of nodes."""
    found = report.divergence
    if found is None:
        return report
    return replace(report, divergence=replace(found, node=found.node.removesuffix(ROUNDED)))


class _Emulation:
    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.edit = Editor(graph)
        self._wide: dict[ir.Value, ir.Value] = {}

    def run(self) -> None:
        for node in list(self.graph):
            # The file's own casts lie between precisions, and round by themselves.
            if node.op_type != "Cast":
                for index, value in enumerate(node.inputs):
                    if value is not None and value.dtype in _HALF:
                        node.replace_input_with(index, self._widened(value))
                for value in node.outputs:
                    if value.dtype in _HALF:
                        self._round(node, value)

    def _widened(self, value: ir.Value) -> ir.Value:
        if value not in self._wide:
            name = self.edit.take_name(f"{name_of(value)}.wide")
            self._wide[value] = self._cast(value, ir.DataType.FLOAT, name, name).outputs[0]
        return self._wide[value]

    def _round(self, node: ir.Node, value: ir.Value) -> None:
        name, half = name_of(value), value.dtype
        assert half is not None
        value.name, value.type = self.edit.take_name(f"{name}.exact"), ir.TensorType(ir.DataType.FLOAT)
        cast = self._cast(value, half, f"{name_of(node)}{ROUNDED}", name)
        redirect(value, cast.outputs[0])
        cast.replace_input_with(0, value)

    def _cast(self, value: ir.Value, to: ir.DataType, node: str, name: str) -> ir.Node:
        made = ir.Node("", "Cast", [value], [ir.AttrInt64("to", int(to))], name=node)
        written = made.outputs[0]
        written.name, written.type, written.shape = name, ir.TensorType(to), value.shape
        producer = value.producer()
        if producer is None:
            self.graph.insert_before(self.graph[0], made)
        else:
            self.graph.insert_after(producer, made)
        return made
