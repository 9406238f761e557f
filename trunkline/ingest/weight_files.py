"""Trained weights from a file beside the network: a caffemodel or safetensors, recognised by content, read lazily."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx_ir as ir

from trunkline.errors import InvalidModel, Problem, did_you_mean
from trunkline.files.read import read_bytes
from trunkline.graph.fillers import FILLER_KEY
from trunkline.graph.graph import Graph, array_of, shape_of
from trunkline.graph.roles import role_of
from trunkline.ingest.caffemodel.match import Matched, match, nearest
from trunkline.ingest.caffemodel.reader import read_caffemodel
from trunkline.ingest.foreign_formats import foreign
from trunkline.ingest.safetensors_file import match_safetensors
from trunkline.limits import DEFAULT_LIMITS, Limits
from trunkline.text import quoted

_HEAD_BYTES = 65536
_SHOWN = 20
_PICKLE = "pickles run code and are never read; save the weights by name: safetensors.torch.save_file(state, path)"
_ADVICE = "give a .caffemodel, or a safetensors file of weights by name"


def apply_weights(
    graph: Graph, path: str | Path, *, limits: Limits = DEFAULT_LIMITS, allow_missing: bool = False
) -> Graph:
    """Return a copy of ``graph`` that starts with the weights in ``path``; none is read before it is wanted.

    Args:
        graph: The network. A caffemodel's layers must have the names that its prototxt gives them.
        path: A caffemodel, or a safetensors file of weights under the Graph's names.
        limits: What the file may ask for.
        allow_missing: Weights that the file lacks start as the network describes, with a note, not an error.

    Raises:
        InvalidModel: The file is damaged or of another format; or weights are missing or do not fit: all of them.
    """
    file = Path(path)
    found, advice = _matched(graph, file, limits)
    wanted = [name for name, value in graph.initializers.items() if role_of(value) != "static"]
    missing = [name for name in wanted if name not in found.tensors and name not in found.misfits]
    problems = list(found.problems)
    if missing and not allow_missing:
        problems.append(_missing_problem(graph.name, missing, len(wanted), file, advice))
        if found.unused:  # a missing weight is often among these, under another name
            problems.append(Problem(f"not used are {_listed(found.unused)}", str(file)))
    if problems:
        raise InvalidModel(problems)
    return _with_tensors(graph, found.tensors, _notes(file, missing, found.unused))


def require_finite(graph: Graph) -> None:
    """Read every weight once, one at a time, so that a bad one is reported before work begins.

    Raises:
        InvalidModel: A weight of the file that :func:`apply_weights` was given holds NaN or infinity.
    """
    for value in graph.initializers.values():
        if FILLER_KEY not in value.metadata_props:  # one that is still to be drawn comes from no file
            array_of(value)  # the tensor's own reader checks it


def _matched(graph: Graph, file: Path, limits: Limits) -> tuple[Matched, str]:
    """Read the file and return what it has, with advice for a Graph that it has nothing for."""
    head = read_bytes(file, limit_bytes=limits.file_bytes, head_bytes=_HEAD_BYTES)
    if head[8:10] == b'{"':  # safetensors: the length of its header, then the header, which is JSON
        found = match_safetensors(graph, file, limits)
        wanted = next(iter(graph.initializers), "")
        return found, did_you_mean(wanted, found.unused) or "its names must be those that `trunkline inspect` shows"
    _refuse_foreign(head, file)
    model = read_caffemodel(file, limits)
    return match(graph, model), nearest(list(graph.initializers), model)


def _refuse_foreign(head: bytes, file: Path) -> None:
    """Raise if the file is of a format that holds no weights by name, or one that runs code."""
    kind = foreign(head)
    if kind is not None:
        is_pickle = "pickle" in kind.what or "torch" in kind.what
        raise InvalidModel(f"is {kind.what}", place=str(file), advice=_PICKLE if is_pickle else _ADVICE)
    if head and b"\0" not in head and head.isascii():
        raise InvalidModel("is a text, not a file of weights", place=str(file), advice=_ADVICE)


def _missing_problem(network: str, missing: Sequence[str], total: int, file: Path, advice: str) -> Problem:
    if len(missing) == total:  # most likely the file of another network, so no list of names
        return Problem(f"no weight of {quoted(network)} is in this file", str(file), advice)
    message = f"{len(missing)} of {total} weights are missing: {_listed(missing)}"
    return Problem(message, str(file), "--allow-missing lets them start as the network says")


def _notes(file: Path, missing: Sequence[str], unused: Sequence[str]) -> list[str]:
    notes = []
    if missing:
        notes.append(f"{file.name} lacks {len(missing)} weights, which start as the network says: {_listed(missing)}")
    if unused:
        notes.append(f"{file.name} has weights that the network does not use: {_listed(unused)}")
    return notes


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(quoted, names[:_SHOWN]))
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def _with_tensors(graph: Graph, tensors: Mapping[str, ir.TensorProtocol], notes: Sequence[str]) -> Graph:
    copy = graph.copy()
    for name, tensor in tensors.items():
        value = copy.initializers[name]
        assert tuple(tensor.shape.numpy()) == shape_of(value)  # what did not fit was refused
        value.const_value = tensor
        value.metadata_props.pop(FILLER_KEY, None)  # or the weight would be drawn all the same
    return Graph(copy.model, (*graph.notes, *notes))
