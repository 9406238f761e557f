"""Operators that ONNX had on trial and withdrew with opset 10; files of Core ML's converters hold them still."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import attribute, name_of
from trunkline.graph.passes.editor import Editor
from trunkline.ingest.onnx_file.adapters.decompose import become, data_of, sizes_of, step, store_ints, store_number
from trunkline.ingest.onnx_file.adapters.registry import before
from trunkline.ingest.onnx_file.proto.operators import WITHDRAWN_AT


@before(WITHDRAWN_AT, "ImageScaler")
def image_scaler(node: ir.Node, editor: Editor) -> None:
    """Scale · x + bias, one bias for each channel."""
    sizes, bias = sizes_of(node), list(attribute(node, "bias", []))
    if len(sizes) < 2 or len(bias) != sizes[1]:
        text = f"ImageScaler: a bias of {len(bias)} numbers for {sizes[1:2] or 'no'} channels"
        raise InvalidModel(text, place=name_of(node))
    scaled = step(
        node, editor, "Mul", [data_of(node), store_number(node, editor, "scale", attribute(node, "scale", 1.0))]
    )
    shifts = np.reshape(bias, (-1, *[1] * (len(sizes) - 2)))
    become(node, "Add", [scaled, store_number(node, editor, "bias", shifts)])


@before(WITHDRAWN_AT, "Affine")
def affine(node: ir.Node, editor: Editor) -> None:
    """Alpha · x + beta."""
    scaled = step(
        node, editor, "Mul", [data_of(node), store_number(node, editor, "alpha", attribute(node, "alpha", 1.0))]
    )
    become(node, "Add", [scaled, store_number(node, editor, "beta", attribute(node, "beta", 0.0))])


@before(WITHDRAWN_AT, "Scale")
def scale(node: ir.Node, editor: Editor) -> None:
    """Scale · x."""
    become(node, "Mul", [data_of(node), store_number(node, editor, "scale", attribute(node, "scale", 1.0))])


@before(WITHDRAWN_AT, "ParametricSoftplus")
def parametric_softplus(node: ir.Node, editor: Editor) -> None:
    """Alpha · ln(1 + exp(beta · x))."""
    _bent(node, editor, "Softplus")


@before(WITHDRAWN_AT, "ScaledTanh")
def scaled_tanh(node: ir.Node, editor: Editor) -> None:
    """Alpha · tanh(beta · x)."""
    _bent(node, editor, "Tanh")


@before(WITHDRAWN_AT, "Crop")
def crop(node: ir.Node, editor: Editor) -> None:
    """Cut ``border`` off: left, top, right, bottom; or, with ``scale``, take so many rows and columns after it."""
    sizes, border, size = sizes_of(node), list(attribute(node, "border", [])), attribute(node, "scale")
    if len(sizes) != 4 or len(border) != 4 or (size is not None and len(size) != 2):
        text = f"Crop: border {border} and scale {size} of a value with {len(sizes)} axes"
        raise InvalidModel(text, place=name_of(node))
    left, top, right, bottom = border
    ends = [sizes[2] - bottom, sizes[3] - right] if size is None else [top + size[0], left + size[1]]
    settings = {"starts": [top, left], "ends": ends, "axes": [2, 3], "steps": [1, 1]}
    stored = [store_ints(node, editor, name, content) for name, content in settings.items()]
    become(node, "Slice", [data_of(node), *stored])


def _bent(node: ir.Node, editor: Editor, operator: str) -> None:
    """Write alpha · f(beta · x); the file must name both numbers."""
    if not {"alpha", "beta"} <= set(node.attributes):
        raise InvalidModel(f"{node.op_type}: alpha and beta were expected", place=name_of(node))
    alpha, beta = (store_number(node, editor, name, attribute(node, name)) for name in ("alpha", "beta"))
    bent = step(node, editor, operator, [step(node, editor, "Mul", [data_of(node), beta])])
    become(node, "Mul", [bent, alpha])
