"""Settings whose meaning opset 18 no longer has, or does not have yet: refused by name, or shown to be harmless."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.computed_weights import comes_of_image
from trunkline.graph.graph import OPSET, attribute, name_of
from trunkline.graph.passes.editor import Editor, input_at, pop, set_input, static
from trunkline.graph.roles import STATISTICS
from trunkline.ingest.onnx_file.adapters.decompose import become, data_of, sizes_of, step, store_ints, store_number
from trunkline.ingest.onnx_file.adapters.registry import before, since, unsupported_form


@before(9, "BatchNormalization")
def batch_normalization_7(node: ir.Node, editor: Editor) -> None:
    """Opset 7 could normalise each pixel on its own."""
    if pop(node, "spatial", 1) != 1:
        raise unsupported_form(node, "spatial=0", "normalise per channel, or give the scale as Mul and Add")


@since(7, "BatchNormalization")
def batch_normalization(node: ir.Node, editor: Editor) -> None:
    """Refuse training mode, in which the statistics are the batch's own, unless the batch is a weight."""
    is_training = attribute(node, "training_mode", 0)
    if comes_of_image(data_of(node)):
        if is_training:
            raise unsupported_form(node, "training_mode=1", "export the model for inference: model.eval()")
    elif is_training:
        _standardise(node, editor)
    else:
        _normalise_weight(node, editor)


def _standardise(node: ir.Node, editor: Editor) -> None:
    """Write the standardisation of a weight (Qiao et al. 2019) as an InstanceNormalization of one instance.

    Exporters write it as BatchNormalization in training mode. ONNX has neither without scale and shift: a scale of
    ones and a shift of zeros are the exporter's own.
    """
    x, sizes = data_of(node), sizes_of(node)
    if len(node.inputs) < 3 or len(sizes) < 2:
        text = "BatchNormalization of a weight: data [N, C, ...], scale and shift were expected"
        raise InvalidModel(text, place=name_of(node))
    epsilon = attribute(node, "epsilon", 1e-5)
    scale, shift = (_unless_plain(node, editor, index, plain) for index, plain in ((1, 1.0), (2, 0.0)))
    if sizes[0] == 1 and len(sizes) > 2:  # the batch is one instance already
        become(node, "InstanceNormalization", [x, scale, shift], epsilon=epsilon)
        return
    turned = [1, 0, *range(2, len(sizes))]
    moved = step(node, editor, "Transpose", [x], perm=turned)
    one = step(node, editor, "Reshape", [moved, store_ints(node, editor, "channels", [1, sizes[1], -1])], allowzero=0)
    normal = step(node, editor, "InstanceNormalization", [one, scale, shift], epsilon=epsilon)
    back = store_ints(node, editor, "shape", [sizes[axis] for axis in turned])
    become(node, "Transpose", [step(node, editor, "Reshape", [normal, back], allowzero=0)], perm=turned)


def _normalise_weight(node: ir.Node, editor: Editor) -> None:
    """Write the normalisation of a weight out: its statistics are computed from it, and are no running statistics."""
    sizes = sizes_of(node)
    if len(node.inputs) != 5 or len(sizes) < 2:
        raise InvalidModel("BatchNormalization of a weight: data [N, C, ...] and four vectors", place=name_of(node))
    scale, shift = (_unless_plain(node, editor, index, plain) for index, plain in ((1, 1.0), (2, 0.0)))
    shape = store_ints(node, editor, "per_channel", [-1, *[1] * (len(sizes) - 2)])
    vectors = (scale, shift, *(_constant_if_stored(node, editor, index) for index in STATISTICS))
    scale, shift, mean, variance = (step(node, editor, "Reshape", [value, shape], allowzero=0) for value in vectors)
    raised = step(
        node, editor, "Add", [variance, store_number(node, editor, "epsilon", attribute(node, "epsilon", 1e-5))]
    )
    centred = step(node, editor, "Sub", [data_of(node), mean])
    normal = step(node, editor, "Div", [centred, step(node, editor, "Sqrt", [raised])])
    become(node, "Add", [step(node, editor, "Mul", [normal, scale]), shift])


def _constant_if_stored(node: ir.Node, editor: Editor, index: int) -> ir.Value:
    """Return a statistic; one that is stored is copied, because as an operand of arithmetic it would train."""
    value, content = input_at(node, index), static(node, index)
    assert value is not None
    return value if content is None else store_number(node, editor, f"statistic{index}", content)


def _unless_plain(node: ir.Node, editor: Editor, index: int, plain: float) -> ir.Value:
    """Return a scale or shift; one that holds ``plain`` alone is made a constant, which does not train."""
    value = input_at(node, index)
    assert value is not None
    content = static(node, index)
    if content is None or not (content == plain).all():
        return value
    return store_number(node, editor, ("scale", "shift")[index - 1], content)


@since(12, "Dropout")
def dropout_12(node: ir.Node, editor: Editor) -> None:
    """Remove a ``training_mode`` that is off, or drops nothing."""
    pop(node, "seed")  # what is dropped is a function of the run's own seed and step
    if input_at(node, 2) is None:
        return
    training, ratio = static(node, 2), static(node, 1)
    if training is None or (training.any() and (ratio is None or ratio.any())):
        raise unsupported_form(node, "training_mode that is on", "export the model for inference: model.eval()")
    set_input(node, 2, None)


def lower_attributes(node: ir.Node, opset: int) -> None:
    """Remove attributes that opset 18 does not know, if they ask for what it does anyway.

    Raises:
        UnsupportedOp: One of them asks for something else.
    """
    known = onnx.defs.get_schema(node.op_type, OPSET, "").attributes
    definitions = onnx.defs.get_schema(node.op_type, opset, "").attributes
    for name in [name for name in node.attributes if name not in known]:
        value = attribute(node, name)
        default = definitions[name].default_value
        plain = onnx.helper.get_attribute_value(default) if default.name else None
        is_plain = value in (plain, _text(plain))
        # ONNX's definition names no default for them: absent, they are 1 along every axis.
        has_no_gaps = name == "dilations" and set(value) <= {1}
        if not is_plain and not has_no_gaps:
            raise unsupported_form(node, f"{name}={value} (new in opset {opset})", "export with opset_version=18")
        del node.attributes[name]


def _text(value: object) -> object:
    return value.decode() if isinstance(value, bytes) else value
