"""Bring a piece of a network to canonical form: any number of inputs, of any rank, and no batch axis."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from trunkline.errors import InvalidModel, Problem
from trunkline.graph.graph import OPSET, name_of
from trunkline.graph.passes.base import run_passes
from trunkline.graph.passes.eliminate_identity import EliminateIdentity
from trunkline.graph.passes.remove_dead import RemoveDead
from trunkline.ingest.onnx_file.canonical_nodes import CanonicalNodes
from trunkline.ingest.onnx_file.passes.drop_initializer_inputs import DropInitializerInputs
from trunkline.ingest.onnx_file.passes.drop_unused_outputs import DropUnusedOutputs
from trunkline.ingest.onnx_file.passes.lift_constants import LiftConstants
from trunkline.ingest.onnx_file.passes.name_everything import NameEverything
from trunkline.ingest.onnx_file.passes.split_roles import SplitRoles
from trunkline.ingest.onnx_file.proto.scan import scan
from trunkline.ingest.onnx_file.refuse_leftovers import refuse_leftovers
from trunkline.limits import DEFAULT_LIMITS, Budget, Limits
from trunkline.text import shape_text


def canonical_fragment(proto: onnx.ModelProto, limits: Limits = DEFAULT_LIMITS) -> ir.Graph:
    """Return the graph of ``proto`` with every node in canonical form, by the passes that read whole files.

    The other rules of a file (one image, a free batch axis) are not checked, so that single nodes can be compared with
    their definitions. The sizes of all inputs must be numbers.

    Raises:
        InvalidModel: The model breaks a rule of ONNX, or asks for more than ``limits``.
        UnsupportedOp: It holds operators that are not supported.
    """
    opset = scan(proto, limits, proto.graph.name or "the fragment")
    try:
        graph = ir.from_proto(proto).graph
    except (ValueError, TypeError, KeyError, ir.serde.SerdeError) as error:
        raise InvalidModel(f"is not a well-formed ONNX model: {error}", place=proto.graph.name) from error
    _check_inputs(graph)
    budget = Budget(limits)
    run_passes(graph, [NameEverything(), DropInitializerInputs(), LiftConstants(budget), DropUnusedOutputs()])
    run_passes(graph, [EliminateIdentity(), RemoveDead(), CanonicalNodes(opset, 1, budget), EliminateIdentity()])
    run_passes(graph, [SplitRoles(), RemoveDead()])
    refuse_leftovers(graph)
    graph.opset_imports[""] = OPSET
    return graph


def _check_inputs(graph: ir.Graph) -> None:
    unsized = [value for value in graph.inputs if value.shape is None or not value.shape.is_static()]
    if unsized:
        text = "the sizes of an input are not known; numbers were expected"
        raise InvalidModel([Problem(text, place=name_of(value)) for value in unsized])
    empty = [value for value in graph.inputs if value.shape is not None and 0 in value.shape.numpy()]
    if empty:
        raise InvalidModel(
            [Problem(f"the input {shape_text(value.shape)} is empty", place=name_of(value)) for value in empty]
        )
