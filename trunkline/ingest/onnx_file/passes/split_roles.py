"""Give every role of a stored tensor its own copy.

Exporters merge tensors of equal content, so that a scale of ones and a running variance of ones become one
initializer. They only *start* equal: one of them trains. Readers in the same role go on sharing.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from trunkline.graph.graph import name_of
from trunkline.graph.passes.editor import Editor
from trunkline.graph.roles import role_at


@dataclass(frozen=True, slots=True)
class SplitRoles:
    """Splits initializers that are read as a parameter here and as a statistic or setting there.

    The first role keeps the name. The copies share the tensor, which is only ever replaced, not written to.
    """

    def __call__(self, graph: ir.Graph) -> int:
        """Split the initializers of ``graph``, and return how many had several roles."""
        editor = Editor(graph)
        return sum([_split(editor, value) for value in list(graph.initializers.values())])


def _split(editor: Editor, value: ir.Value) -> bool:
    uses: dict[str, list[tuple[ir.Node, int]]] = {}
    for node, index in value.uses():
        uses.setdefault(role_at(node, index), []).append((node, index))
    for role, readers in list(uses.items())[1:]:  # the first keeps the name
        copy = editor.copy(value, f"{name_of(value)}.{role}")
        for node, index in readers:
            node.replace_input_with(index, copy)
    return len(uses) > 1
