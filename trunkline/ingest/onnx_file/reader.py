"""Read an ONNX file into a Graph: load, check, and bring to canonical form pass by pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import IR_VERSION, OPSET, SOURCE_KEY, Graph, is_weight, name_of
from trunkline.graph.input_size import InputSize, pixels_of
from trunkline.graph.owners import settle_owners
from trunkline.graph.passes.base import run_passes
from trunkline.graph.passes.eliminate_identity import EliminateIdentity
from trunkline.graph.passes.remove_dead import RemoveDead
from trunkline.ingest.onnx_file.batch.free_batch import FreeBatch
from trunkline.ingest.onnx_file.batch.second_batch import SecondBatch
from trunkline.ingest.onnx_file.canonical_nodes import CanonicalNodes
from trunkline.ingest.onnx_file.image import canonical_image, has_free_batch, settle_image, settle_maps
from trunkline.ingest.onnx_file.passes.channels_first import DropTurns
from trunkline.ingest.onnx_file.passes.drop_initializer_inputs import DropInitializerInputs
from trunkline.ingest.onnx_file.passes.drop_unused_outputs import DropUnusedOutputs
from trunkline.ingest.onnx_file.passes.follow_image import OwnReshape, reshapes_of
from trunkline.ingest.onnx_file.passes.lift_constants import LiftConstants
from trunkline.ingest.onnx_file.passes.name_everything import NameEverything
from trunkline.ingest.onnx_file.passes.plain_slices import PlainSlices
from trunkline.ingest.onnx_file.passes.single_precision import OTHERS
from trunkline.ingest.onnx_file.passes.split_roles import SplitRoles
from trunkline.ingest.onnx_file.passes.torch_kinds import (
    constants_are_nodes,
    drop_plain_marks,
    is_of_torch,
    mark_kinds,
    merging_notes,
)
from trunkline.ingest.onnx_file.proto.cut import cut_at, drop_unreadable
from trunkline.ingest.onnx_file.proto.load import load
from trunkline.ingest.onnx_file.refuse_leftovers import refuse_leftovers
from trunkline.limits import DEFAULT_LIMITS, Budget, Limits
from trunkline.text import quoted

_SHOWN = 4
"""Weights that a note names, at most."""


def read_onnx(
    path: Path,
    *,
    input_size: InputSize | None = None,
    limits: Limits = DEFAULT_LIMITS,
    features: Sequence[str] = (),
    readable_only: bool = False,
    maps: Sequence[tuple[int, int, int]] = (),
) -> Graph:
    """Read an ONNX file of opset 7 or later.

    Args:
        path: The file. Its external data, if any, must lie in the same folder.
        input_size: Height and width in pixels, or channels, height and width, in place of the file's own.
        limits: What the file may ask for.
        features: Values or nodes to end at, in place of the file's outputs; what follows need not be readable.
        readable_only: Leave out what cannot be read at the end, if no weights lie there.
        maps: For a head: the sizes ``[C, h, w]`` of the feature maps that it reads in place of an image.

    Returns:
        The network in canonical form, under the names the file gives.

    Raises:
        InvalidModel: The file is not a good model of one image, or asks for too much.
        UnsupportedOp: It holds operators that are not supported; all of them are listed.
    """
    cuts: list[str] = []

    def cut(proto: onnx.ModelProto) -> None:
        if features:
            cuts.append(cut_at(proto.graph, features, str(path)))
        elif readable_only and (note := drop_unreadable(proto)):
            cuts.append(note)

    graph = canonical_graph(load(path, limits, cut), path, input_size=input_size, limits=limits, maps=maps)
    return Graph(graph.model, (*cuts, *graph.notes))


def canonical_graph(
    model: ir.Model,
    path: Path,
    *,
    input_size: InputSize | None,
    limits: Limits,
    maps: Sequence[tuple[int, int, int]] = (),
) -> Graph:
    """Bring a model that has been checked to canonical form; ``path`` names it in errors. See :func:`read_onnx`."""
    graph = model.graph
    # What the exporter notes beside its tensors is read first: passes rename, merge and remove them.
    merging = tuple(merging_notes(graph))
    mark_kinds(graph, is_of_torch=is_of_torch(model))
    lift = LiftConstants(_budget(graph, limits), are_formulas=constants_are_nodes(model))
    _sort(graph, path)  # every pass from here on walks in order, which not every file keeps
    budget, opset = lift.budget, graph.opset_imports[""]
    run_passes(graph, [NameEverything(), DropInitializerInputs(), lift, DropUnusedOutputs()])
    run_passes(graph, [EliminateIdentity()])
    size = len(graph)
    run_passes(graph, [RemoveDead()])
    notes = (*_notes(size - len(graph)), *(() if maps else canonical_image(graph, input_size, limits)))
    _note_sources(graph, path)
    own = {} if maps else _at_own_size(graph, input_size, limits)
    is_free = has_free_batch(graph)  # settling gives it a number
    batch = settle_maps(graph, maps) if maps else settle_image(graph, input_size)
    second = SecondBatch(graph.inputs) if is_free else None
    # Both are for notes about the file, and the walk leaves neither as it was.
    others = {name: value.dtype for name, value in graph.initializers.items() if value.dtype in OTHERS}
    quantised = _quantised_notes(graph)
    walk = CanonicalNodes(opset, batch, budget, own, single=True, second=second)
    run_passes(graph, [walk, EliminateIdentity(), RemoveDead()])
    if DropTurns()(graph) and second is not None:
        second.follow_again(graph)
    # Constants as large as the batch are still nodes; freeing the batch makes them for one image, and folds them.
    refuse_leftovers(graph, second)
    run_passes(graph, [FreeBatch(batch, budget, second), PlainSlices(), SplitRoles(), RemoveDead()])
    refuse_leftovers(graph)
    _sort(graph, path)  # what passes have added may come behind its readers
    drop_plain_marks(graph)
    canonical = _canonical_model(graph, path)
    settle_owners(canonical, model.metadata_props)
    notes = (*notes, *_precision_notes(graph, others), *quantised, *merging, *_merging_notes(graph, walk.merged))
    return Graph(canonical, notes)


def _at_own_size(graph: ir.Graph, input_size: InputSize | None, limits: Limits) -> dict[str, OwnReshape]:
    """Return what the Reshapes of a file do at its own image size, if it names one and another is wanted."""
    image = graph.inputs[0].shape
    own = () if image is None else tuple(image)[2:]
    if pixels_of(input_size) in (None, own) or not all(isinstance(size, int) for size in own):
        return {}
    if not any(node.op_type == "Reshape" for node in graph):
        return {}  # most convolutional networks have none, and are not read twice for it
    copy = ir.Model(graph, ir_version=IR_VERSION).clone().graph
    try:
        batch, budget = settle_image(copy, None), _budget(copy, limits)
        run_passes(copy, [CanonicalNodes(graph.opset_imports[""], batch, budget, single=True)])
    except InvalidModel:
        return {}  # it does not fit the size it names; the wanted size may still do
    return reshapes_of(copy)


def _sort(graph: ir.Graph, path: Path) -> None:
    try:
        graph.sort()
    except ValueError as error:
        raise InvalidModel("the nodes read each other in a circle", place=str(path)) from error


def _budget(graph: ir.Graph, limits: Limits) -> Budget:
    """Return what folding may still store: what the file stores itself is charged first."""
    budget = Budget(limits)
    for name, value in graph.initializers.items():
        if value.const_value is not None:
            budget.charge(name, tuple(value.const_value.shape.numpy()))
    return budget


def _notes(dead: int) -> tuple[str, ...]:
    return (f"left out {dead} nodes that no output needs",) if dead else ()


def _precision_notes(graph: ir.Graph, others: Mapping[str, ir.DataType | None]) -> tuple[str, ...]:
    kinds = {str(kind) for name, kind in others.items() if is_weight(graph.initializers.get(name))}
    return (f"weights of {' and '.join(sorted(kinds))} are taken as float32",) if kinds else ()


def _quantised_notes(graph: ir.Graph) -> tuple[str, ...]:
    read = [node.inputs[0] for node in graph if node.op_type == "DequantizeLinear"]
    kinds = sorted({str(value.dtype).lower() for value in read if value is not None and value.is_initializer()})
    if not read:
        return ()
    return (f"weights stored as {' and '.join(kinds or ['whole numbers'])} are read as the float32 they stand for",)


def _merging_notes(graph: ir.Graph, merged: Sequence[str]) -> tuple[str, ...]:
    """Return a note on the weights that were merged from what does not train well by itself."""
    left = [name for name in merged if name in graph.initializers]
    if not left:
        return ()
    more = ", …" if len(left) > _SHOWN else ""
    shown = ", ".join(map(quoted, left[:_SHOWN])) + more
    return (f"weights that the file computes from stored tensors train as one tensor each: {shown}",)


def _note_sources(graph: ir.Graph, path: Path) -> None:
    for node in graph:
        node.metadata_props.setdefault(SOURCE_KEY, f"{path.name}:{name_of(node)}")


def _canonical_model(graph: ir.Graph, path: Path) -> ir.Model:
    graph.opset_imports.clear()
    graph.opset_imports[""] = OPSET
    graph.name = graph.name or path.stem
    return ir.Model(graph, ir_version=IR_VERSION, producer_name="trunkline")
