"""What onnxruntime's own operators cost in precision, and how far that carries.

A few of its float32 operators are exact to a few units of 1, not of their result: a Sigmoid that should be 3e-6 may be
1e-7 off, which is 3 % of it. Torch's is exact to 1e-13 there, so torch's error is no yardstick for a detector's
probability map. And an InstanceNormalization of constant channels finds their means less exactly than torch's does.
These operators are known by name. How much they may move an output is found by disturbing the float64 twin by as much,
at every such operator, and looking at its outputs.

That alone would let a real defect of the same size pass. So it is used only for a file in which *every node, on
the very numbers that the runtime gave it*, is right to its ordinary tolerance (:mod:`trunkline.export.parity.locate`):
a wrong bias in front of a Sigmoid is then found at the bias, whatever the Sigmoid hides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx

from trunkline.export.parity.reference import Array, Reference
from trunkline.seeds import seed_of

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


_NORMALISING = "InstanceNormalization"
_UNITS_OF_MEAN = 4.0
_UNITS_BY_NUMBER = 1 / 24
"""onnxruntime adds a channel up in float32 to find its mean. A constant channel is rounded the same way at every step:
its mean is off by up to 3 units + H·W / 32 units of itself, measured to 512x512; a test measures it again."""
_LEAST_SPREAD = 1e-6


def operator_error(node: onnx.NodeProto, inputs: Mapping[str, Array], result: Array) -> Array:
    """Return how far the numbers of ``result`` may be off in onnxruntime, beyond rounding; 0 for an exact operator.

    Args:
        node: It computes the result.
        inputs: Values by name, with what it reads as far as that is computed.
        result: Its first output.
    """
    if node.op_type == _NORMALISING:
        return _error_of_mean(inputs.get(node.input[0]), result, _setting(node, "epsilon", 1e-5))
    # Elu is alpha · (exp(x) - 1), so its error grows with alpha; the table was measured with 1.
    alpha = abs(_setting(node, "alpha", 1.0)) if node.op_type == "Elu" else 1.0
    return np.asarray(OPERATOR_ERROR.get(node.op_type, 0.0) * max(1.0, alpha))


def _setting(node: onnx.NodeProto, name: str, default: float) -> float:
    return next((item.f for item in node.attribute if item.name == name), default)


def _error_of_mean(data: Array | None, result: Array, epsilon: float) -> Array:
    """The mean is off by a part of itself; the result is by that much, divided and scaled as the data is."""
    if data is None:
        return np.zeros(())
    wide, axes = data.astype(np.float64), tuple(range(2, data.ndim))
    spread, mean = wide.std(axes, keepdims=True), np.abs(wide.mean(axes, keepdims=True))
    divisor = np.sqrt(spread**2 + epsilon)
    # A channel that is the same everywhere does not show its scale; it is taken to be the largest of the others.
    shows = spread > _LEAST_SPREAD * (mean + np.sqrt(epsilon))
    scale = result.std(axes, keepdims=True) * divisor / np.where(shows, spread, 1.0)
    largest = scale[shows].max() if shows.any() else 1.0
    units = _UNITS_OF_MEAN + _UNITS_BY_NUMBER * np.prod(data.shape[2:])
    error: Array = units * UNIT * mean * np.where(shows, scale, largest) / divisor
    return error


def limited_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes whose results may be off by more than rounding."""
    return [node for node in model.graph.node if node.op_type in (*OPERATOR_ERROR, _NORMALISING)]


def disturbances(reference: Reference, image: Array, nodes: Sequence[onnx.NodeProto]) -> dict[str, float]:
    """Return by output how far ``nodes`` of the exported file may move it on ``image`` ``[N, C, H, W]``."""
    makers = {node.output[0]: node for node in nodes}
    # Only the error of a normalisation depends on what it reads.
    read = {node.input[0] for node in nodes if node.op_type == _NORMALISING}
    truth = reference.double(image)
    moved = dict.fromkeys(truth, 0.0)
    # Errors of one sign add up in a sum, errors of changing sign do not cancel in a difference: both are tried.
    for draw in (_up, _either):
        inputs: dict[str, Array] = {}

        # The file's nodes are known to the twin by the values that they write.
        def disturb(name: str, value: Array, draw: Draw = draw, inputs: dict[str, Array] = inputs) -> Array:
            if name in makers:
                value = value + operator_error(makers[name], inputs, value) * draw(name, value)
            if name in read:
                inputs[name] = value
            return value

        seen = reference.values(image, disturb)
        for name, value in truth.items():
            moved[name] = max(moved[name], float(np.abs(seen[name] - value).max(initial=0.0)))
    return moved


def _up(name: str, value: Array) -> Array:
    return np.ones_like(value)


def _either(name: str, value: Array) -> Array:
    rng = np.random.default_rng(seed_of(name, 0))
    signs: Array = rng.choice([-1.0, 1.0], size=value.shape)
    return signs
