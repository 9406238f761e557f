"""What onnxruntime's own operators cost in precision, and how far that carries.

A few of its float32 operators are exact to a few units of 1, not of their result: a Sigmoid that should be 3e-6 may be
1e-7 off, which is 3 % of it. Torch's is exact to 1e-13 there, so torch's error is no yardstick for a detector's
probability map. These operators are known by name. How much they may move an output is found by disturbing the
float64 twin by as much, at every such operator, and looking at its outputs.

That alone would let a real defect of the same size pass. So it is used only for a file in which *every node, on
the very numbers that the runtime gave it*, is right to its ordinary tolerance (:mod:`trunkline.export.locate`): a wrong
bias in front of a Sigmoid is then found at the bias, whatever the Sigmoid hides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx

from trunkline.export.reference import Array, Reference
from trunkline.ingest.fillers import stream

Draw = Callable[[str, Array], Array]

UNIT = 2.0**-24
"""Half the distance from 1 to the next float32."""

OPERATOR_ERROR: Mapping[str, float] = {
    **dict.fromkeys(["Celu", "Elu", "HardSigmoid", "HardSwish", "Mish"], 2 * UNIT),
    **dict.fromkeys(["Selu", "Sigmoid"], 4 * UNIT),
}
"""Largest absolute error of onnxruntime's float32 operator, beyond 6 units of its own result.

Measured over 4 million numbers in [-40, 40]: Sigmoid 2.3 units, Selu 1.7, the others at most 1; a test measures them
again. Sigmoid is a polynomial over a clipped range, Elu and its kin are exp(x) - 1, which cancels near 0, and the hard
ones cancel at -3. All others that were tried (Tanh, Erf, Exp, Softplus, Softsign and more) are exact to 6 units of
their own result.
"""


def operator_error(node: onnx.NodeProto) -> float:
    """Return how far the result of ``node`` may be off in onnxruntime, beyond rounding; 0 for an exact operator."""
    alpha = next((abs(item.f) for item in node.attribute if item.name == "alpha" and node.op_type == "Elu"), 1.0)
    return OPERATOR_ERROR.get(node.op_type, 0.0) * max(1.0, alpha)


def limited_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes whose results may be off by more than rounding."""
    return [node for node in model.graph.node if operator_error(node)]


def disturbances(reference: Reference, image: Array, nodes: Sequence[onnx.NodeProto]) -> dict[str, float]:
    """Return by output how far ``nodes`` of the exported file may move it on ``image`` ``[N, C, H, W]``."""
    amplitudes = {node.output[0]: operator_error(node) for node in nodes}
    truth = reference.double(image)
    moved = dict.fromkeys(truth, 0.0)
    # Errors of one sign add up in a sum, errors of changing sign do not cancel in a difference: both are tried.
    for draw in (_up, _either):

        def disturb(name: str, value: Array, draw: Draw = draw) -> Array:
            return value + amplitudes[name] * draw(name, value) if name in amplitudes else value

        seen = reference.values(image, disturb)
        for name, value in truth.items():
            moved[name] = max(moved[name], float(np.abs(seen[name] - value).max(initial=0.0)))
    return moved


def _up(name: str, value: Array) -> Array:
    return np.ones_like(value)


def _either(name: str, value: Array) -> Array:
    rng = np.random.default_rng(stream(name, 0))
    signs: Array = rng.choice([-1.0, 1.0], size=value.shape)
    return signs
