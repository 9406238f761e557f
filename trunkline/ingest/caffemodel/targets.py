"""Which weights of a Graph the blobs of a Caffe layer fill, and in which order.

A prototxt's weights are named ``<layer>.<role>``, so the layer's name finds them. Only a weight that layers share
has the name of the first of them; the others find it through their own nodes. Which blob is which follows from the
roles a layer has, because each kind of layer stores its blobs in one order:

* mean, variance, scale factor: Caffe's BatchNorm; then scale and shift in NVIDIA's fork with ``scale_bias``;
* scale, shift, mean, variance: the BN of PSPNet's fork; only the first two in SegNet's;
* weight, bias: every other layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import onnx_ir as ir

from trunkline.graph.graph import Graph, name_of
from trunkline.graph.roles import role_of

FACTOR = "factor"
"""BatchNorm's third blob: what its sums have to be divided by."""

_STATISTICS: Mapping[int, Sequence[str]] = {
    2: ("scale", "bias"),
    3: ("mean", "var", FACTOR),
    4: ("scale", "bias", "mean", "var"),
    5: ("mean", "var", FACTOR, "scale", "bias"),
}
_PLAIN = ("weight", "scale", "bias")
_NORMALISATION = ("scale", "bias", "mean", "var")
_ROLES = frozenset({*_PLAIN, *_NORMALISATION})
_OPERANDS: Mapping[str, Sequence[str]] = {
    "Conv": ("", "weight", "bias"),
    "ConvTranspose": ("", "weight", "bias"),
    "Gemm": ("", "weight", "bias"),
    "PRelu": ("", "weight"),
    "Mul": ("", "weight"),
    "Add": ("", "bias"),
    "BatchNormalization": ("", *_NORMALISATION),
}
"""The role that each input of a node has in its layer; empty for the data."""

Roles = Mapping[str, ir.Value]


class Targets:
    """The weights of one Graph, by Caffe layer.

    Args:
        graph: The Graph to be filled.
        layers: Names of all layers of the file that hold blobs.
    """

    def __init__(self, graph: Graph, layers: Iterable[str]) -> None:
        self.weights = {name: value for name, value in graph.initializers.items() if role_of(value) != "static"}
        self._layers = set(layers)
        self._named: dict[str, dict[str, ir.Value]] = {}
        for name, value in self.weights.items():
            layer, _, role = name.rpartition(".")
            if role in _ROLES:
                self._named.setdefault(layer, {})[role] = value
        self._nodes: dict[str, list[ir.Node]] = {}
        for node in graph.nodes:
            self._nodes.setdefault(self._owner(name_of(node)), []).append(node)

    def of(self, layer: str) -> Roles:
        """Return the weights of ``layer`` by role; empty where it has none."""
        found = dict(self._named.get(layer, {}))
        for node in self._nodes.get(layer, ()):
            for role, value in self._shared(node):
                if value not in found.values():
                    found.setdefault(role, value)
        return found

    def _owner(self, node: str) -> str:
        """Return the layer that a node called ``layer`` or ``layer/part`` belongs to."""
        # A layer's own name may hold a slash ("inception_3a/1x1"), so it comes before the form with a part.
        return node if node in self._layers else node.rpartition("/")[0]

    def _shared(self, node: ir.Node) -> Iterable[tuple[str, ir.Value]]:
        """Yield the weights that a node reads, by role; shared ones have the name of another layer."""
        roles = _OPERANDS.get(node.op_type, ())
        for role, value in zip(roles, node.inputs, strict=False):  # a node may lack its last inputs
            is_weight = value is not None and value.name in self.weights
            if role and value is not None and is_weight and not self._is_absorbed(node, role):
                yield role, value

    def _is_absorbed(self, node: ir.Node, role: str) -> bool:
        """Whether a scale or shift belongs to the Scale layer that a BatchNorm has taken in."""
        scale = node.inputs[1] if node.op_type == "BatchNormalization" else None
        # A BatchNorm's own scale is <layer>.scale; one that came from a Scale layer is <that layer>.weight.
        return role in ("scale", "bias") and scale is not None and not name_of(scale).endswith(".scale")


def order_of(roles: Roles, blobs: int) -> Sequence[str] | None:
    """Return the role of each of a layer's ``blobs``, or ``None`` where the layer takes another number of them."""
    if "mean" in roles and "var" in roles:
        order = _STATISTICS.get(blobs, ())
        fits = all(role in roles or role == FACTOR for role in order)
        return order if order and fits else None
    order = [role for role in _PLAIN if role in roles]
    return order if len(order) == blobs else None


def expected_of(roles: Roles) -> str:
    """Return what :func:`order_of` would accept, in words."""
    if "mean" in roles and "var" in roles:
        return "3 (mean, variance, scale factor)" if "scale" not in roles else "4 or 5"
    order = [role for role in _PLAIN if role in roles]
    return f"{len(order)} ({', '.join(order)})"
