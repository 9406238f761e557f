"""prototxt → Graph.

The steps, each in its own file: text → tokens → located tree (``text/lexer.py``, ``text/tree.py``) → layers of the
deployed network (``network/``, ``deployed.py``) → inputs and dialect → single-assignment wiring
(``network/wiring.py``) → what the features need (``needed.py``) → nodes (``translate.py``, ``layers/``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.files.read import read_bytes
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import Graph
from trunkline.graph.input_size import InputSize
from trunkline.ingest.prototxt.deployed import deployed
from trunkline.ingest.prototxt.layers.site import Site
from trunkline.ingest.prototxt.needed import Wanted, needed
from trunkline.ingest.prototxt.network import dialect, wiring
from trunkline.ingest.prototxt.network.blob_names import BlobNames
from trunkline.ingest.prototxt.network.inputs import declared_inputs, image_input, labels_of, refuse_placeholder
from trunkline.ingest.prototxt.network.net import Net, read_net
from trunkline.ingest.prototxt.text.report import FileReport
from trunkline.ingest.prototxt.text.source import Source, Span, decode
from trunkline.ingest.prototxt.text.tree import parse
from trunkline.ingest.prototxt.translate import refuse_misplaced, translate
from trunkline.limits import DEFAULT_LIMITS, Limits
from trunkline.text import quoted


def read_prototxt(
    path: Path,
    *,
    input_size: InputSize | None = None,
    limits: Limits = DEFAULT_LIMITS,
    features: Sequence[str] = (),
) -> Graph:
    """Read a Caffe or AutoMTL prototxt. The weights are described, not drawn.

    Args:
        path: The file.
        input_size: ``(height, width)`` in pixels, or ``(channels, height, width)``, to use instead of the file's.
        limits: What the file may ask for.
        features: BlobNames of values, blobs or layers to end the network at. Layers that they do not need are not
            translated, so they may be of any type.

    Returns:
        The Graph, whose ``notes`` list every repair and every dropped layer. Its outputs are the features in
        the order given; without any, the blobs that nothing reads, in the order of the file.

    Raises:
        InvalidModel: All that is wrong with the file, each problem at its line and column.
        UnsupportedOp: The same, when layer types are among it that Trunkline cannot handle.
    """
    content = read_bytes(path, limit_bytes=limits.text_bytes, limit="text_bytes")
    return _graph_of(decode(content, str(path)), path.stem, _Wish(input_size, features, limits))


def parse_prototxt(
    text: str,
    path_label: str = "<text>",
    *,
    input_size: InputSize | None = None,
    limits: Limits = DEFAULT_LIMITS,
    features: Sequence[str] = (),
) -> Graph:
    """Read a prototxt from a text; errors name ``path_label`` as its path. See :func:`read_prototxt`.

    >>> text = '''
    ... name: "one_layer"
    ... input: "image" input_shape { dim: 1 dim: 3 dim: 32 dim: 32 }
    ... layer {
    ...   name: "conv1" type: "Convolution" bottom: "image" top: "conv1"
    ...   convolution_param { num_output: 8 kernel_size: 3 stride: 2 pad: 1 }
    ... }
    ... '''
    >>> graph = parse_prototxt(text)
    >>> [(node.op_type, node.name) for node in graph.nodes]
    [('Conv', 'conv1')]
    >>> sorted(graph.initializers)
    ['conv1.bias', 'conv1.weight']
    """
    if len(text) > limits.text_bytes:
        raise InvalidModel(f"the text is longer than {limits.text_bytes:,} bytes", place=path_label)
    source = decode(text.encode(errors="replace"), path_label)  # Python's strings may hold what UTF-8 cannot
    return _graph_of(source, Path(path_label).stem, _Wish(input_size, features, limits))


@dataclass(frozen=True, slots=True)
class _Wish:
    """What the caller wants besides the file.

    Attributes:
        size: The size of the image, to use instead of the file's.
        features: BlobNames of values, blobs or layers to end the network at.
        limits: What the file may ask for.
    """

    size: InputSize | None
    features: Sequence[str]
    limits: Limits


def _graph_of(source: Source, stem: str, wish: _Wish) -> Graph:
    if not source.text.strip():
        raise InvalidModel("the file is empty", place=source.label, advice="a network is a list of layer { … } blocks")
    report = FileReport(source)
    net = read_net(parse(source, wish.limits), report, wish.limits)
    graph = _build(net, net.name or stem, wish, report)
    report.raise_if_any()
    assert graph is not None  # whatever prevented it was reported
    return graph


def _build(net: Net, name: str, wish: _Wish, report: FileReport) -> Graph | None:
    """Return the Graph of a network, or ``None`` where that was impossible, which is then in the report."""
    inputs = declared_inputs(net, report)
    if net.layers:  # a file without layers has that one fault; its fields would be many more
        net.fields.finish()
    layers = deployed(net, labels_of(net), report)
    if not layers:
        return None
    alias = wiring.alias_undefined_input(layers, inputs, report)
    # Blobs keep their names in the Graph, so these are taken before any weight or step is named.
    names = BlobNames({item.name for item in inputs} | {top for layer in layers for top, _ in layer.tops})
    blobs, wired = wiring.wire(layers, [names.reserved(item.name) for item in inputs], alias, names)
    kept, wanted = needed(wiring.absorb_scales(wired), wish.features, report)
    refuse_misplaced(kept, [item.name for item in inputs], report)
    read = {alias.get(bottom, bottom) for layer in kept for bottom, _ in layer.text.bottoms}
    image = image_input(inputs, read, net, report, wish.size)
    builder = GraphBuilder(name)
    values = {blobs[image.name]: builder.image(image.name, image.dims)} if image else {}
    node_names = BlobNames({layer.name for layer in layers})
    kind = dialect.detect(layers, report)
    site = Site(builder, report, names, node_names, kind, wish.limits, size_was_given=wish.size is not None)
    translate(kept, values, site)
    # Some networks do fit an image of 1 x 1, so a placeholder is a fault only where another was found.
    if image and report.count and wish.size is None:
        refuse_placeholder(image, report)
    outputs = _outputs(wanted, values, report)
    if not outputs and not report.count:
        report.error("the network computes nothing", layers[0].at, "its layers only pass the input on")
    return None if report.count else builder.finish(outputs, report.notes)


def _outputs(wanted: Sequence[Wanted], values: dict[wiring.WiredBlob, ir.Value], report: FileReport) -> list[ir.Value]:
    """Return the values of the wanted blobs, once each; neither the input itself nor a mask is an output."""
    found: dict[int, ir.Value] = {}
    for blob, name in wanted:
        value = values.get(blob)
        if value is None:
            continue
        if value.producer() is not None and value.dtype == ir.DataType.FLOAT:
            found[id(value)] = value  # once: Split gives one value several names
        elif name:
            what = "the input" if value.producer() is None else "a mask of positions"
            report.error(f"feature {quoted(name)} is {what}", Span(1, 1), "name a blob that holds features")
    return list(found.values())
