"""Which BatchNormalizations can be folded into what is before them, and for each of the others, why not.

A convolution is folded when BN is its only reader and everything in the formula is stored. Nodes that share weight
*and* BN share the folded pair as well. A weight that is read with several BN, as by tasks whose inputs differ, stays
as it is, and so do they: a folded copy for each would store again what the tasks share. Runtimes fold those when they
load the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from trunkline.export.passes.batchnorm_formula import Folded, Pair, fold_pair, stored_at
from trunkline.graph.graph import attribute, name_of
from trunkline.graph.passes.editor import input_at
from trunkline.text import quoted

_LINEAR = ("Conv", "ConvTranspose", "Gemm")
_PARAMETERS = ("scale", "bias", "mean", "variance")


@dataclass(frozen=True, slots=True)
class NotFolded:
    """A node that a pass left as it was.

    Attributes:
        node: Name of the node.
        reason: Why, in words, to be read after the node's name.
    """

    node: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        return {"node": self.node, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Findings:
    """What a search for foldable BatchNormalizations gives.

    Attributes:
        groups: Pairs that get one weight and bias, with these.
        refused: All other BatchNormalizations, in order.
    """

    groups: list[tuple[list[Pair], Folded]]
    refused: list[NotFolded]


def find_pairs(graph: ir.Graph) -> Findings:
    """Decide for every BatchNormalization of ``graph`` whether it can be folded."""
    groups: dict[tuple[object, ...], list[Pair]] = {}
    reasons: dict[str, str] = {}
    norms = [node for node in graph if node.op_type == "BatchNormalization"]
    for norm in norms:
        pair = _pair_of(norm)
        if isinstance(pair, str):
            reasons[name_of(norm)] = pair
        else:
            groups.setdefault(pair.key, []).append(pair)
    foldable = []
    for group in groups.values():
        folded = _shared_weight(group) or fold_pair(group[0])
        if isinstance(folded, str):
            reasons.update((name_of(pair.norm), folded) for pair in group)
        else:
            foldable.append((group, folded))
    names = map(name_of, norms)
    return Findings(foldable, [NotFolded(name, reasons[name]) for name in names if name in reasons])


def _pair_of(norm: ir.Node) -> Pair | str:
    """Return the pair that ``norm`` is the second of, or why there is none."""
    if attribute(norm, "training_mode", 0):
        return "it normalises by the statistics of each batch (training_mode is 1)"
    for index, word in enumerate(_PARAMETERS, start=1):
        if not stored_at(norm, index).is_initializer():
            return f"its {word} is computed, not stored"
    data = stored_at(norm, 0)
    linear = data.producer()
    if linear is None:
        return f"nothing comes before it: it reads {quoted(name_of(data))} itself"
    if linear.op_type not in _LINEAR:
        return f"it reads {linear.op_type} {quoted(name_of(linear))}, which is none of {', '.join(_LINEAR)}"
    return _why_apart(data, linear) or Pair(linear, norm)


def _why_apart(data: ir.Value, linear: ir.Node) -> str | None:
    """Return why the node ``linear``, which computes ``data``, must keep its own result."""
    label = f"{linear.op_type} {quoted(name_of(linear))}"
    if data.is_graph_output():
        return f"the result of {label} is an output as well"
    if len(data.uses()) > 1:
        return f"the result of {label} is read by other nodes as well"
    for index, word in ((1, "weight"), (2, "bias")):
        value = input_at(linear, index)
        if value is not None and not value.is_initializer():
            return f"the {word} of {label} is computed, not stored"
    if not _is_per_channel(input_at(linear, 2)):
        return f"the bias of {label} is a whole matrix, not one number a channel"
    return None


def _is_per_channel(bias: ir.Value | None) -> bool:
    """Whether a bias is one number a channel. Gemm may add a whole matrix."""
    return bias is None or bias.const_value is None or all(size == 1 for size in list(bias.const_value.shape)[:-1])


def _shared_weight(group: list[Pair]) -> str | None:
    """Return why the weight of ``group`` must stay: others read it too, so a folded copy would be one more to store."""
    weight = stored_at(group[0].linear, 1)
    if {node for node, _ in weight.uses()} == {pair.linear for pair in group}:
        return None
    return f"the weight {quoted(name_of(weight))} is shared with nodes that fold otherwise; it would be stored twice"
