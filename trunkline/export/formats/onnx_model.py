"""Write a Graph as an ONNX file: the Graph itself, never a trace of its twin.

The file is a pure function of graph, weights and metadata: names, order and layout come from the Graph, metadata is
sorted, and there are no times, host names or absolute paths.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx import helper

from trunkline.errors import WorkFailed
from trunkline.export.passes import optimise
from trunkline.export.provenance import PREFIX, stamp
from trunkline.export.serialise import write_model
from trunkline.export.weights import Weights, with_weights
from trunkline.files.staging import staged
from trunkline.files.write import write_error
from trunkline.graph.graph import IR_VERSION, OPSET, SOURCE_KEY, Graph
from trunkline.graph.marks import marks_of
from trunkline.graph.owners import owners_of
from trunkline.ingest.onnx_file.proto.own_weights import open_shell

EXTERNAL_BYTES = 2**31 - 2**24
"""Weights beyond this go to a second file: protobuf ends at 2 GiB, and the graph itself needs some room."""

_NO_METADATA: Mapping[str, str] = {}


def write_onnx(
    graph: Graph,
    path: str | Path,
    *,
    weights: Weights | None = None,
    fold: bool = True,
    reuse: bool = True,
    fuse: bool = False,
    metadata: Mapping[str, str] = _NO_METADATA,
    external_bytes: int = EXTERNAL_BYTES,
) -> Path:
    """Write ``graph`` to ``path``, checked, and return the path. Nothing is left behind if it fails.

    Args:
        graph: Any Graph; it is not changed.
        path: The file to write; an existing one is replaced in one step.
        weights: Trained weights by initializer name; the Graph's own where absent.
        fold: Fold BatchNormalization into convolutions.
        reuse: Merge equal weights and nodes; see :func:`trunkline.export.passes.optimise`.
        fuse: Put parallel convolutions side by side.
        metadata: Added to the model's ``metadata_props``; see :class:`trunkline.export.provenance.Provenance`.
        external_bytes: A model with more bytes of weights keeps them in one file ``<name>.data`` beside it.

    Raises:
        InvalidModel: The weights do not fit the Graph.
        WorkFailed: The result is not valid ONNX, or there is no room for it.
    """
    final = Path(path)
    with staged(final) as target:
        model = finished(graph, weights, fold=fold, reuse=reuse, fuse=fuse, metadata=metadata)
        write_unchecked(model, target, external_bytes=external_bytes)
        check_file(target)
    return final


def finished(
    graph: Graph,
    weights: Weights | None = None,
    *,
    fold: bool = True,
    reuse: bool = True,
    fuse: bool = False,
    metadata: Mapping[str, str] = _NO_METADATA,
) -> ir.Model:
    """Return the model to be written: weights in place, optimised, with pinned versions and clean metadata."""
    complete = graph if weights is None else with_weights(graph, weights)
    graph = optimise(complete, fold=fold, reuse=reuse, fuse=fuse)
    model = graph.model
    model.ir_version = IR_VERSION
    model.graph.opset_imports.clear()
    model.graph.opset_imports[""] = OPSET
    # The producer of the user's file did not write this one.
    model.producer_name, model.producer_version = "trunkline", stamp()[PREFIX + "version"]
    model.doc_string = model.graph.doc_string = None
    _replace(model.metadata_props, {**metadata, **stamp(), **owners_of(model), **marks_of(model.graph)})
    model.graph.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        _clean_value(value)
    for node in model.graph:
        _clean_node(node)
    return model


def write_unchecked(model: ir.Model, target: Path, *, external_bytes: int = EXTERNAL_BYTES) -> None:
    """Serialise ``model`` to ``target``, with its weights beside it where they are too many for one file."""
    stored = (value.const_value for value in model.graph.initializers.values())
    size = sum(tensor.nbytes for tensor in stored if tensor is not None)
    try:
        if size > external_bytes:
            ir.save(model, target, format="protobuf", external_data=f"{target.name}.data")
        else:
            with target.open("wb") as file:
                write_model(model, file)
    except OSError as error:
        raise write_error(error, Path(target.name), size) from error


def check_file(path: Path) -> None:
    """Load a written file as another program would, and check it against the ONNX specification.

    Raises:
        WorkFailed: It is not valid ONNX; this is a fault of the export, not of the user's input.
    """
    shell, own = open_shell(path)
    try:
        # A large file is checked without its weights, a small one as it lies on the disk.
        if own.places:
            _declare(shell.graph, own.places)
            onnx.checker.check_model(shell, full_check=True)
        else:
            onnx.checker.check_model(str(path.absolute()), full_check=True)
        ir.from_proto(shell)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError, OSError) as error:
        raise WorkFailed(f"the exported model is not valid ONNX: {error}", place=path.name) from error


def _declare(graph: onnx.GraphProto, weights: Collection[str]) -> None:
    """Make large weights inputs of their type and shape: the checker would copy their numbers several times."""
    large = [tensor for tensor in graph.initializer if tensor.name in weights]
    for tensor in large:
        graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        graph.initializer.remove(tensor)


def _clean_node(node: ir.Node) -> None:
    """Keep our own metadata, sorted; other tools leave stack traces with absolute paths here."""
    kept = {key: text for key, text in sorted(node.metadata_props.items()) if key.startswith(PREFIX)}
    # No absolute paths in a delivered file: of the user's path and line, only the file's own name stays.
    if SOURCE_KEY in kept:
        kept[SOURCE_KEY] = re.split(r"[/\\]", kept[SOURCE_KEY])[-1]
    _replace(node.metadata_props, kept)
    node.doc_string = None
    for value in node.outputs:
        _clean_value(value)


def _clean_value(value: ir.Value) -> None:
    value.metadata_props.clear()
    value.doc_string = None


def _replace(props: dict[str, str], wanted: Mapping[str, str]) -> None:
    props.clear()
    props.update(sorted(wanted.items()))
