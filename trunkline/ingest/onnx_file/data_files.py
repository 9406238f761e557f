"""The files that hold weights of an ONNX file, for runtimes that read them on their own.

Trunkline's own reader opens them without following links (:mod:`trunkline.ingest.onnx_file.proto.external_data`). Other
programs may follow one anywhere, so a file whose weights do not lie in plain files of its own folder is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx.external_data_helper import uses_external_data

from trunkline.errors import InvalidModel, first_line
from trunkline.text import quoted


def data_files(model: Path) -> tuple[Path, ...]:
    """Return the files beside ``model`` that its weights lie in, sorted; none for most models.

    Raises:
        InvalidModel: It is no ONNX file, or names a file that is not there, is a link, or lies elsewhere.
    """
    try:
        proto = onnx.load(model, load_external_data=False)
    # protobuf's error has another base in each of its implementations.
    except Exception as error:
        raise InvalidModel(f"it is no ONNX model: {first_line(error)}", place=str(model)) from error
    names = {
        entry.value for tensor in _external(proto.graph) for entry in tensor.external_data if entry.key == "location"
    }
    return tuple(_checked(model, name) for name in sorted(names))


def _external(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield the tensors whose numbers lie in other files, those of nodes and of graphs in nodes too."""
    tensors = [*graph.initializer]
    for sparse in graph.sparse_initializer:
        tensors += [sparse.values, sparse.indices]
    for node in graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            for inner in (attribute.g, *attribute.graphs):
                # A graph that is not there is an empty one.
                if inner.node or inner.initializer:
                    yield from _external(inner)
    yield from (tensor for tensor in tensors if uses_external_data(tensor))


def _checked(model: Path, name: str) -> Path:
    folder, path = model.absolute().parent, model.absolute().parent / name
    parts = Path(name).parts
    found = ""
    if Path(name).is_absolute() or ".." in parts or not parts:
        found = "lies outside its folder"
    elif any((folder / Path(*parts[: length + 1])).is_symlink() for length in range(len(parts))):
        found = "is a link"
    elif not path.is_file():
        found = "is not there"
    elif path.stat().st_nlink > 1:
        # The same content may be somebody's secret under another name.
        found = "has several names"
    if found:
        advice = "save the model again, with its data beside it"
        raise InvalidModel(f"its data file {quoted(name)} {found}", place=str(model), advice=advice)
    return path
