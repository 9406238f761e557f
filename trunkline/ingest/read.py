"""Read any model: from a path, or a packaged network's name, to a verified Graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from trunkline.collector import collector_paused
from trunkline.errors import InvalidModel
from trunkline.files.read import in_file, read_bytes
from trunkline.graph.branching import with_branching
from trunkline.graph.budget_check import check_budget
from trunkline.graph.features import cut_graph
from trunkline.graph.graph import Graph, shape_of
from trunkline.graph.input_size import InputSize, check_size
from trunkline.graph.verify import verify
from trunkline.ingest.file_format import HEAD_BYTES, tell_format
from trunkline.ingest.read_options import AS_THE_FILE_SAYS, ReadKeywords, ReadOptions
from trunkline.limits import Limits

if TYPE_CHECKING:
    from torch import Tensor, nn

ZOO = "zoo:"


@collector_paused()
def read(
    path: str | Path | Graph | nn.Module,
    example: Tensor | None = None,
    *,
    readable_only: bool = False,
    options: ReadOptions = AS_THE_FILE_SAYS,
    **reading: Unpack[ReadKeywords],
) -> Graph:
    """Read a network from an ONNX file, a Caffe prototxt, the packaged ``zoo:NAME``, or a torch module.

    The content decides what format a file has, not the suffix. A Graph is one that was read before.

    >>> graph = read("zoo:tiny")
    >>> graph
    Graph('tiny', 49 nodes, 75 initializers)
    >>> read("zoo:tiny", features=["stage1_block2_relu2"], input_size=(128, 192)).outputs[0].shape[2:]
    (64, 96)

    Args:
        path: The file, or ``zoo:`` and a name, or a Graph, or a torch module.
        example: Only for a module: an image batch ``[N, C, H, W]`` of the size to read it for.
        readable_only: Leave out what cannot be read at the end of an ONNX file, if no weights lie there.
        options: How to read the network.
        **reading: Options by name: ``input_size``, ``features``, ``weights``, ``allow_missing``, ``limits``,
            ``branching``.

    Raises:
        InvalidModel: It cannot be read, is in no format that is supported, or breaks a rule.
        UnsupportedOp: It holds operators or layers that are not supported.
        InvalidConfig: Tasks cannot part where ``branching`` says.
    """
    options = options.but(reading)
    if isinstance(path, str | Path):
        graph = _of_file(path, options, readable_only=readable_only)
    else:
        graph = path if isinstance(path, Graph) else _of_module(path, example, options.limits)
        _refuse_other_size(graph, options.input_size)
        graph = verify(cut_graph(graph, options.features)) if options.features else graph
    if options.weights is not None:
        from trunkline.ingest.weight_files import apply_weights

        graph = apply_weights(graph, options.weights, limits=options.limits, allow_missing=options.allow_missing)
    return graph if options.branching.is_default else with_branching(graph, options.branching)


def _of_file(path: str | Path, options: ReadOptions, *, readable_only: bool) -> Graph:
    """Read the network of a file, without the weights of another."""
    file, limits = _locate(path), options.limits
    check_size(options.input_size)
    if _is_onnx(file, limits):
        from trunkline.ingest.onnx_file.reader import read_onnx

        with in_file(file):
            graph = read_onnx(
                file,
                input_size=options.input_size,
                limits=limits,
                features=options.features,
                readable_only=readable_only,
            )
            return check_budget(verify(graph), limits, str(file))
    from trunkline.ingest.prototxt.reader import read_prototxt

    with in_file(file):
        graph = read_prototxt(file, input_size=options.input_size, limits=limits, features=options.features)
        graph = check_budget(verify(graph), limits, str(file))
    # Notes tell users about their own files; in a packaged one there is nothing for them to know or mend.
    return Graph(graph.model) if str(path).startswith(ZOO) else graph


def _refuse_other_size(graph: Graph, input_size: InputSize | None) -> None:
    own = shape_of(graph.input)[1:]
    if input_size not in (None, own, own[1:]):
        text = f"{graph.name} was read for images of {' x '.join(map(str, own))}, not of {input_size}"
        raise InvalidModel(text, advice="read it again: a file with input_size, a module with an example of that size")


def _of_module(module: nn.Module, example: Tensor | None, limits: Limits) -> Graph:
    from trunkline.ingest.torch_module.reader import read_module

    if example is None:
        advice = "trunkline.read(module, torch.zeros(1, 3, 224, 224))"
        raise InvalidModel("a torch module is read with an example of its image batch", advice=advice)
    return check_budget(verify(read_module(module, example, limits=limits)), limits, type(module).__name__)


def _is_onnx(file: Path, limits: Limits) -> bool:
    head = read_bytes(file, limit_bytes=limits.file_bytes, head_bytes=HEAD_BYTES)
    return tell_format(head, str(file)) == "onnx"


def _locate(path: str | Path) -> Path:
    text = str(path)
    if not text.startswith(ZOO):
        return Path(path)
    from trunkline.ingest import zoo

    return Path(zoo.path(text.removeprefix(ZOO)))
