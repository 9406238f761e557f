"""Functions and control flow that torch's exporters leave in a file, and that fold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx_models import tensor, weight

from exporter_styles.writing import FLOAT, constant, file, node, style


def inner(nodes: Sequence[onnx.NodeProto], *outputs: str, stored: Sequence[TensorProto] = ()) -> onnx.GraphProto:
    """A branch."""
    infos = [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs]
    return helper.make_graph(list(nodes), "branch", [], infos, list(stored))


@style
def torch_squeeze_under_a_condition() -> onnx.ModelProto:
    """``x.squeeze(2)`` as TorchScript's exporter writes it where it does not know the size, once each way."""
    nodes = [node("GlobalAveragePool", "x", "pool"), node("Conv", "x w", "conv")]
    for name, source in (("flat", "pool"), ("kept", "conv")):
        nodes += [
            node("Shape", source, f"{name}.shape"),
            constant(f"{name}.two", 2),
            node("Gather", f"{name}.shape {name}.two", f"{name}.size", axis=0),
            constant(f"{name}.one", 1),
            node("Equal", f"{name}.size {name}.one", f"{name}.cond"),
            node(
                "If",
                f"{name}.cond",
                name,
                then_branch=inner([constant("axis", [2]), node("Squeeze", f"{source} axis", "out")], "out"),
                else_branch=inner([node("Identity", source, "out")], "out"),
            ),
        ]
    nodes += [node("Flatten", "flat", "a"), node("Flatten", "kept", "b"), node("Concat", "a b", "y", axis=1)]
    return file(nodes, [weight("w", 4, 3, 3, 3)], shape=("b", 3, "h", "w"), opset=13, producer="pytorch")


@style
def scripted_branches_inside_branches() -> onnx.ModelProto:
    """Weights, Dropout and another condition inside the branch that is taken; the other one cannot be read."""
    deep = inner(
        [node("Conv", "m w2", "d"), node("Dropout", "d ratio", "e mask")], "e", stored=[weight("w2", 2, 4, 1, 1)]
    )
    nowhere = inner([node("RandomNormalLike", "m", "z")], "z")
    fork = node("If", "yes", "i", then_branch=deep, else_branch=nowhere)
    half = constant("ratio", 0.5, np.float32)
    outer = inner([half, node("Relu", "c", "m"), fork, node("Add", "i i", "o")], "o")
    other = inner([node("RandomNormalLike", "c", "o")], "o")
    nodes = [
        node("Conv", "x w", "c"),
        node("If", "no", "y", then_branch=other, else_branch=outer),
    ]
    stored = [weight("w", 4, 3, 3, 3), tensor("yes", True, np.bool_), tensor("no", False, np.bool_)]
    return file(nodes, stored, opset=13)


@style
def functions_of_a_file() -> onnx.ModelProto:
    """A block that calls an activation, as torch's exporter keeps modules and ATen operators as functions."""
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("pkg", 1)]
    slope = onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    leaky = node("LeakyRelu", "a", "t")
    leaky.attribute.append(slope)
    act = helper.make_function("pkg", "act", ["a"], ["b"], [leaky, node("Neg", "t", "b")], opsets, ["slope"])
    called = node("act", "t", "b", domain="pkg", slope=0.3)
    block = helper.make_function("pkg", "block", ["a", "w"], ["b"], [node("Conv", "a w", "t"), called], opsets)
    nodes = [node("block", "x w", "m", domain="pkg"), node("block", "m w2", "y", domain="pkg")]
    proto = file(nodes, [weight("w", 4, 3, 3, 3), weight("w2", 4, 4, 3, 3)], opset=18, ir_version=8, producer="pytorch")
    proto.functions.extend([act, block])
    proto.opset_import.append(helper.make_opsetid("pkg", 1))
    return proto
