"""Settings whose meaning opset 18 no longer has, or does not have yet: refused by name, or shown to be harmless."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from trunkline.ingest.graph import OPSET, attribute
from trunkline.ingest.onnx_file.adapters.registry import before, refuse, since
from trunkline.ingest.passes.edit import Editor, input_at, pop, set_input, static


@before(9, "BatchNormalization")
def batch_normalization_7(node: ir.Node, editor: Editor) -> None:
    """Opset 7 could normalise each pixel on its own."""
    if pop(node, "spatial", 1) != 1:
        raise refuse(node, "spatial=0", "normalise per channel, or give the scale as Mul and Add")


@since(14, "BatchNormalization")
def batch_normalization_14(node: ir.Node, editor: Editor) -> None:
    """A file saved in training mode computes with the batch's own statistics."""
    if attribute(node, "training_mode", 0):
        raise refuse(node, "training_mode=1", "export the model for inference: model.eval()")


@since(12, "Dropout")
def dropout_12(node: ir.Node, editor: Editor) -> None:
    """A ``training_mode`` that is off, or drops nothing, goes; so does the seed, because the run's own decides."""
    pop(node, "seed")
    if input_at(node, 2) is None:
        return
    training, ratio = static(node, 2), static(node, 1)
    if training is None or (training.any() and (ratio is None or ratio.any())):
        raise refuse(node, "training_mode that is on", "export the model for inference: model.eval()")
    set_input(node, 2, None)


def lower_attributes(node: ir.Node, opset: int) -> None:
    """Take off attributes that opset 18 does not know, which is right where they say what it does anyway.

    Raises:
        UnsupportedOp: One of them says something else.
    """
    known = onnx.defs.get_schema(node.op_type, OPSET, "").attributes
    definitions = onnx.defs.get_schema(node.op_type, opset, "").attributes
    for name in [name for name in node.attributes if name not in known]:
        value = attribute(node, name)
        default = definitions[name].default_value
        plain = onnx.helper.get_attribute_value(default) if default.name else None
        if value not in (plain, _text(plain)) and not (name == "dilations" and set(value) <= {1}):
            raise refuse(node, f"{name}={value} (new in opset {opset})", "export with opset_version=18")
        del node.attributes[name]


def _text(value: object) -> object:
    return value.decode() if isinstance(value, bytes) else value
