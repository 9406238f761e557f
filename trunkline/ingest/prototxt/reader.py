"""prototxt → Graph: the door of this folder.

The steps, each in its own file: text → tokens → located tree (:mod:`lexer`, :mod:`tree`) → layers of the
deployed network (:mod:`net`, :mod:`phase`) → inputs and dialect → single-assignment wiring → nodes
(:mod:`translate`, :mod:`layers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.ingest.builder import GraphBuilder
from trunkline.ingest.graph import Graph
from trunkline.ingest.prototxt import dialect, wiring
from trunkline.ingest.prototxt.inputs import DATA_LAYERS, declared_inputs, image_input
from trunkline.ingest.prototxt.layers import DROPPED
from trunkline.ingest.prototxt.layers.layer import Site
from trunkline.ingest.prototxt.limits import PrototxtLimits
from trunkline.ingest.prototxt.names import Names
from trunkline.ingest.prototxt.net import LayerText, Net, read_net
from trunkline.ingest.prototxt.report import Report
from trunkline.ingest.prototxt.source import Source, decode
from trunkline.ingest.prototxt.translate import refuse_unknown_types, translate
from trunkline.ingest.prototxt.tree import parse


def read_prototxt(
    path: Path, *, input_size: tuple[int, int] | None = None, limits: PrototxtLimits | None = None
) -> Graph:
    """Read a Caffe or AutoMTL prototxt. The weights are described, not drawn.

    Args:
        path: The file.
        input_size: ``(height, width)`` in pixels to use instead of the file's.
        limits: What the file may ask for.

    Returns:
        The Graph, whose ``notes`` tell every repair and every dropped layer. Its outputs are the blobs that
        nothing reads, in the order of the file.

    Raises:
        InvalidModel: All that is wrong with the file, each problem at its line and column.
        UnsupportedOp: The same, when layer types are among it that Trunkline cannot handle.
    """
    limits = limits or PrototxtLimits()
    try:
        with path.open("rb") as file:
            content = file.read(limits.file_bytes + 1)
    except OSError as error:
        raise InvalidModel(f"cannot read the file: {error.strerror}", place=str(path)) from error
    _refuse_size(len(content), str(path), limits)
    return _read(decode(content, str(path)), path.stem, input_size, limits)


def parse_prototxt(
    text: str,
    path_label: str = "<text>",
    *,
    input_size: tuple[int, int] | None = None,
    limits: PrototxtLimits | None = None,
) -> Graph:
    """Read a prototxt from a text; ``path_label`` stands for the path in errors. See :func:`read_prototxt`."""
    limits = limits or PrototxtLimits()
    _refuse_size(len(text), path_label, limits)
    return _read(decode(text.encode(errors="replace"), path_label), Path(path_label).stem, input_size, limits)


def _refuse_size(size: int, label: str, limits: PrototxtLimits) -> None:
    if size > limits.file_bytes:
        raise InvalidModel(f"the file is larger than {limits.file_bytes:,} bytes", place=label)


def _read(source: Source, stem: str, size: tuple[int, int] | None, limits: PrototxtLimits) -> Graph:
    if not source.text.strip():
        raise InvalidModel("the file is empty", place=source.label, advice="a network is a list of layer { … } blocks")
    report = Report(source)
    net = read_net(parse(source, limits), report, limits)
    graph = _build(net, net.name or stem, size, report, limits)
    report.raise_if_any()
    assert graph is not None  # whatever prevented it was reported
    return graph


def _build(net: Net, name: str, size: tuple[int, int] | None, report: Report, limits: PrototxtLimits) -> Graph | None:
    inputs = declared_inputs(net, report)
    if net.layers:
        net.fields.finish()
    layers = _deployed(net, report)
    refuse_unknown_types(layers, report)
    alias = wiring.alias_undefined_input(layers, inputs, report)
    names = Names({item.name for item in inputs} | {top for layer in layers for top, _ in layer.tops})
    blobs, wired = wiring.wire(layers, [names.reserved(item.name) for item in inputs], alias, names, report)
    if not layers:
        return None
    read = {alias.get(bottom, bottom) for layer in layers for bottom, _ in layer.bottoms}
    image = image_input(inputs, read, net, report, size)
    builder = GraphBuilder(name)
    values = {blobs[image.name]: builder.image(image.name, image.dims)} if image else {}
    found = dialect.detect(layers, report)
    node_names = Names({layer.name for layer in layers})
    kept = wiring.absorb_scales(wired)
    translate(kept, values, Site(builder, report, names, node_names, found, limits))
    outputs = _outputs(kept, values)
    if not outputs and not report.count:
        report.error("the network computes nothing", layers[0].at, "its layers only pass the input on")
    return None if report.count else builder.finish(outputs, report.notes)


def _deployed(net: Net, report: Report) -> list[LayerText]:
    """Leave out Input and data layers, which became inputs, and losses, which need labels."""
    kept: list[LayerText] = []
    for layer in net.layers:
        if layer.type in DROPPED:
            report.note(f"{layer} was dropped: it has no part in the deployed network")
        elif layer.type != "Input" and layer.type not in DATA_LAYERS:
            kept.append(layer)
    if not kept and not report.count:
        report.error("the file declares no layer that computes", net.fields.at, "add layer { … } blocks")
    return kept


def _outputs(layers: Sequence[wiring.Wired], values: dict[wiring.Blob, ir.Value]) -> list[ir.Value]:
    """Return the values that no layer reads, once each; the input itself is no output."""
    unread = [values[top] for layer in layers for top in layer.tops if not top.readers and top in values]
    return list({id(value): value for value in unread if value.producer() is not None}.values())
