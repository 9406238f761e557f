"""Give every node and value a name, once and for all, keeping the user's."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from trunkline.graph.passes.editor import Editor


@dataclass(frozen=True, slots=True)
class NameEverything:
    """Names values first, then nodes.

    1. An unnamed output takes ``<operator>_<number>``.
    2. An unnamed node takes its first output's name.
    3. Of nodes with one name, all but the first get a number. Names that are good already stay.
    """

    def __call__(self, graph: ir.Graph) -> int:
        """Name what has no name of its own in ``graph``, and return how many names were given."""
        editor = Editor(graph)
        seen: set[str] = set()
        changed = 0
        for number, node in enumerate(graph):
            for value in node.outputs:
                # rule 1; an optional output that nothing reads stays unnamed, which is how ONNX marks it
                if not value.name and (value.uses() or value.is_graph_output()):
                    value.name = editor.take_name(f"{node.op_type.lower()}_{number}")
                    changed += 1
            if not node.name or node.name in seen:
                node.name = _name(node, number, seen, editor)
                changed += 1
            seen.add(node.name)
        return changed


def _name(node: ir.Node, number: int, seen: set[str], editor: Editor) -> str:
    of_output = next((value.name for value in node.outputs if value.name), "")
    wanted = node.name or of_output or f"{node.op_type.lower()}_{number}"  # rule 2
    # A node may be called like the value it writes, but like no other node.
    if wanted in seen or wanted in editor.nodes:
        return editor.take_name(wanted)  # rule 3
    return wanted
