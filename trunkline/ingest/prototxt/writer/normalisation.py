"""BatchNormalization → BatchNorm and Scale; LRN; Dropout."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from trunkline.graph.graph import array_of, attribute, name_of
from trunkline.graph.roles import role_of
from trunkline.ingest.prototxt.writer.emitter import Emit, Emitter, InexpressibleError, blob
from trunkline.ingest.prototxt.writer.net import CaffeBlob, Setting, block


def batch_norm(to: Emitter, node: ir.Node) -> None:
    """BatchNormalization → BatchNorm, which only normalises, and Scale, unless that would change nothing.

    The scale factor, Caffe's third blob, is 1: the statistics are stored as they are.
    """
    scale, bias = to.stored(node, 1, "scale"), to.stored(node, 2, "shift")
    mean, var = to.stored(node, 3, "mean"), to.stored(node, 4, "variance")
    settings: dict[str, Setting] = {"use_global_stats": True}
    settings["moving_average_fraction"] = float(attribute(node, "momentum", 0.9))
    epsilon = float(attribute(node, "epsilon", 1e-5))
    if np.float32(epsilon) != np.float32(1e-5):  # Caffe's default, which it keeps as a float32
        settings["eps"] = epsilon
    one = CaffeBlob((1,), ir.Tensor(np.ones(1, np.float32)))
    name, result = name_of(node), name_of(node.outputs[0])
    shifts = not _is_constant(bias, 0)
    scales = shifts or not _is_constant(scale, 1)
    # Not in place, so that the value between the two layers has a name of its own.
    top = to.free_blob(f"{name}/norm") if scales else result
    norm = block("batch_norm_param", settings)
    to.add(name, "BatchNorm", [name_of(to.data(node))], [top], norm, blobs=[blob(mean), blob(var), one])
    if scales:
        blobs = [blob(scale), blob(bias)] if shifts else [blob(scale)]
        affine = [block("scale_param", {"bias_term": True})] if shifts else []
        to.add(_scale_name(to, name, scale), "Scale", [top], [result], *affine, blobs=blobs)


def lrn(to: Emitter, node: ir.Node) -> None:
    """LRN → LRN across channels; both divide alpha by the window size."""
    size = attribute(node, "size")
    if size % 2 == 0:  # Caffe refuses it
        raise InexpressibleError(f"its window of {size} channels is even")
    settings: dict[str, Setting] = {"local_size": size, "alpha": float(attribute(node, "alpha", 1e-4))}
    settings |= {"beta": float(attribute(node, "beta", 0.75)), "k": float(attribute(node, "bias", 1.0))}
    to.layer(node, "LRN", block("lrn_param", settings))


def dropout(to: Emitter, node: ir.Node) -> None:
    """Dropout → Dropout, the identity at inference."""
    has_ratio = len(node.inputs) > 1 and node.inputs[1] is not None
    ratio = float(array_of(to.stored(node, 1, "ratio")).item()) if has_ratio else 0.5  # the default of both
    to.layer(node, "Dropout", block("dropout_param", {"dropout_ratio": ratio}))


def _is_constant(value: ir.Value, number: int) -> bool:
    """Whether ``value`` does not train and holds only ``number``."""
    return role_of(value) == "static" and bool((array_of(value) == number).all())


def _scale_name(to: Emitter, norm: str, scale: ir.Value) -> str:
    """Return the name that the Scale layer had in the prototxt this network came from, or a new one."""
    layer, _, role = name_of(scale).rpartition(".")
    return to.free_layer(layer if role == "weight" and layer != norm else f"{norm}/scale")


WRITERS: dict[str, Emit] = {"BatchNormalization": batch_norm, "Dropout": dropout, "LRN": lrn}
