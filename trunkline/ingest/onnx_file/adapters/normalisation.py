"""Normalisations that opset 18 has no operator for, or no longer: as the formulas they stand for."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import attribute, name_of, shape_of
from trunkline.graph.passes.editor import Editor
from trunkline.ingest.onnx_file.adapters.decompose import become, data_of, sizes_of, step, store_ints, store_number
from trunkline.ingest.onnx_file.adapters.registry import since, unsupported_form

_TINY = 1e-36
"""Under a square root, beyond single precision beside any variance but 0, where it keeps the gradient finite."""


@since(18, "GroupNormalization")
def group_normalization(node: ir.Node, editor: Editor) -> None:
    """Write GroupNormalization (Wu and He 2018) as an InstanceNormalization with each group of channels for a channel.

    1. With a scale per group (opset 18 to 20), that is all.
    2. With a scale per channel (from opset 21 on), the scale comes behind it.

    ONNX has withdrawn the operator of opset 18; exporters of earlier opsets write it like this too.
    """
    x, scale, bias = _inputs(node, 3)
    sizes, groups = sizes_of(node), attribute(node, "num_groups")
    if groups < 1 or sizes[1] % groups:
        raise InvalidModel(f"GroupNormalization of {sizes[1]} channels in {groups} groups", place=name_of(node))
    lengths = [shape_of(value) for value in (scale, bias)]
    _refuse_other_precision(node)
    settings = {"epsilon": attribute(node, "epsilon", 1e-5)}
    full = store_ints(node, editor, "full_shape", [0, *sizes[1:]])
    merged = step(node, editor, "Reshape", [x, store_ints(node, editor, "group_shape", [0, groups, -1])], allowzero=0)
    if lengths == [(groups,)] * 2:  # rule 1
        plain = step(node, editor, "InstanceNormalization", [merged, scale, bias], **settings)
        become(node, "Reshape", [plain, full], allowzero=0)
        return
    if lengths != [(sizes[1],)] * 2:
        raise InvalidModel(f"GroupNormalization: scale and bias of {lengths}", place=name_of(node))
    ones = store_number(node, editor, "ones", [1.0] * groups)  # rule 2
    zeros = store_number(node, editor, "zeros", [0.0] * groups)
    plain = step(node, editor, "InstanceNormalization", [merged, ones, zeros], **settings)
    apart = step(node, editor, "Reshape", [plain, full], allowzero=0)
    behind = len(sizes) - 2
    scaled = step(node, editor, "Mul", [apart, _per_channel(node, editor, scale, behind)])
    become(node, "Add", [scaled, _per_channel(node, editor, bias, behind)])


@since(23, "RMSNormalization")
def rms_normalization(node: ir.Node, editor: Editor) -> None:
    """Write RMSNormalization as x / √(mean(x²) + epsilon) · scale (Zhang and Sennrich 2019).

    The mean is over the axes from ``axis`` on.
    """
    x, scale = _inputs(node, 2)
    _refuse_other_precision(node)
    rank = len(sizes_of(node))
    first = attribute(node, "axis", -1)
    if not -rank <= first < rank:
        raise InvalidModel(f"RMSNormalization: axis {first} of {rank} axes", place=name_of(node))
    axes = store_ints(node, editor, "axes", range(first % rank, rank))
    square = step(node, editor, "Mul", [x, x])
    mean = step(node, editor, "ReduceMean", [square, axes], keepdims=1)
    raised = step(node, editor, "Add", [mean, store_number(node, editor, "epsilon", attribute(node, "epsilon", 1e-5))])
    plain = step(node, editor, "Div", [x, step(node, editor, "Sqrt", [raised])])
    become(node, "Mul", [plain, scale])


@since(9, "MeanVarianceNormalization")
def mean_variance_normalization(node: ir.Node, editor: Editor) -> None:
    """Write MeanVarianceNormalization as (x − mean) / (deviation + 1e-9), over ``axes``."""
    x = data_of(node)  # opset 18 has the operator, but its definition infers no shape
    axes = store_ints(node, editor, "axes", attribute(node, "axes", [0, 2, 3]))
    centred = step(node, editor, "Sub", [x, step(node, editor, "ReduceMean", [x, axes], keepdims=1)])
    variance = step(node, editor, "ReduceMean", [step(node, editor, "Mul", [centred, centred]), axes], keepdims=1)
    raised = step(node, editor, "Add", [variance, store_number(node, editor, "tiny", _TINY)])
    deviation = step(node, editor, "Sqrt", [raised])
    become(node, "Div", [centred, step(node, editor, "Add", [deviation, store_number(node, editor, "epsilon", 1e-9)])])


def _inputs(node: ir.Node, count: int) -> list[ir.Value]:
    found = [value for value in node.inputs[:count] if value is not None]
    if len(found) != count:
        raise InvalidModel(f"{node.op_type} with {len(found)} inputs; {count} were expected", place=name_of(node))
    return found


def _refuse_other_precision(node: ir.Node) -> None:
    """Refuse statistics in another precision than float32: the steps compute in the type of their inputs."""
    stash = attribute(node, "stash_type", 1)
    if stash != 1:
        raise unsupported_form(node, f"stash_type {stash}", "only statistics in float32 (1) can be said")


def _per_channel(node: ir.Node, editor: Editor, weight: ir.Value, behind: int) -> ir.Value:
    """Return ``weight`` with ``behind`` axes of size 1 after its own; a weight read here only is stored that way."""
    shape = [*(size or 1 for size in shape_of(weight)), *[1] * behind]
    stored = weight.const_value
    if stored is None or len(weight.uses()) > 1:
        axes = store_ints(node, editor, "behind", range(1, behind + 1))
        return step(node, editor, "Unsqueeze", [weight, axes])
    weight.const_value = ir.LazyTensor(
        lambda: ir.Tensor(np.reshape(stored.numpy(), shape)), stored.dtype, ir.Shape(shape), name=weight.name
    )
    weight.shape = ir.Shape(shape)
    return weight
