"""Who reads weights: a node in a task's column, with the option that its unit runs there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from trunkline.graph.graph import name_of
from trunkline.sharing.lowering.numbering import Ref
from trunkline.sharing.view import ViewSpan


@dataclass(frozen=True, slots=True)
class Reader:
    """A node that reads weights for a task: of one instance, beside these inputs.

    Attributes:
        node: Node of the backbone.
        instance: Number of the weights' instance.
        inputs: What it reads that depends on the image; different inputs have statistics apart.
        task: Task whose column it runs in.
        span: What a view cuts, where one narrows the unit.
        channels: Channels of the view; 0 without one.
        unit_instance: Instance that the node's block runs, where the node itself has that of its task; 0 elsewhere.
    """

    node: ir.Node
    instance: int
    inputs: tuple[Ref, ...]
    task: str
    span: ViewSpan | None = None
    channels: int = 0
    unit_instance: int = 0

    @property
    def cuts(self) -> Mapping[int, int | None]:
        """Axis along which a view cuts a stored input, by the input's position."""
        if self.span is None:
            return {}
        return self.span.cuts.get(name_of(self.node), {})

    @property
    def width(self) -> int:
        """Channels of the view on which the node's inputs depend; 0 where they do not, as in a shortcut beside it."""
        if self.span is None:
            return 0
        name = name_of(self.node)
        return self.channels if name in self.span.cuts or name in self.span.behind else 0
