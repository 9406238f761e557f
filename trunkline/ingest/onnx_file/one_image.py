"""Find the one input of an ONNX file that is its image."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import inputs_of, name_of
from trunkline.ingest.onnx_file.proto.cut import REARRANGING
from trunkline.text import quoted, shape_text

_SHOWN = 6


def only_input(graph: ir.Graph) -> ir.Value:
    """Return the image, and drop the inputs that nothing reads.

    Raises:
        InvalidModel: There is no input, or more than one. Where only one can be an image, the advice names the values
            up to which nothing else is read.
    """
    used = [value for value in graph.inputs if value.uses()]
    if len(used) == 1:
        graph.inputs[:] = used
        return used[0]
    if not used:
        advice = "an image that nothing reads gives no features: export the network again"
        raise InvalidModel("no node reads any of the inputs; one image was expected", advice=advice)
    shown = ", ".join(_described(value) for value in used[:_SHOWN])
    more = f" and {len(used) - _SHOWN} more" if len(used) > _SHOWN else ""
    text = f"{len(used)} inputs that must be given ({shown}{more}); one image was expected"
    images = [value for value in used if value.shape is not None and len(value.shape) == 4]
    advice = "export the network with the image as its only input, and its weights inside"
    # Detectors read the size of the image beside it, and vision-language models a text.
    if len(images) == 1 and (ends := _ends_of(images[0], used, graph)):
        advice = f"cut the network where it has read {quoted(name_of(images[0]))} only: --features {','.join(ends)}"
    raise InvalidModel(text, advice=advice)


def _described(value: ir.Value) -> str:
    name = quoted(name_of(value))
    return name if value.shape is None else f"{name} {shape_text(value.shape)}"


def _ends_of(image: ir.Value, inputs: list[ir.Value], graph: ir.Graph) -> list[str]:
    """Return the last values that are computed from the image, and from no other input."""
    others, own = set(inputs) - {image}, {image}
    ends: dict[ir.Value, None] = {}  # in order, each once
    for node in graph:
        reads = set(inputs_of(node))
        if not others.isdisjoint(reads):
            others.update(node.outputs)
            ends.update(dict.fromkeys(value for value in inputs_of(node) if value in own))
        elif not own.isdisjoint(reads) and node.op_type not in ("Shape", "Size"):  # a size is no feature
            own.update(node.outputs)
    maps = dict.fromkeys(map(_rearranged_from, ends))
    maps.pop(image, None)
    return [name_of(value) for value in maps][:_SHOWN]


def _rearranged_from(value: ir.Value) -> ir.Value:
    """Return what a value has been rearranged from."""
    node = value.producer()
    while node is not None and node.op_type in REARRANGING and node.inputs[0] is not None:
        value = node.inputs[0]
        node = value.producer()
    return value
