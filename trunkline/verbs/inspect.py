"""``inspect``: what a model holds and costs, where it can branch, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkline.ingest.blocks import Block, find_blocks
from trunkline.ingest.cost import Cost, graph_cost
from trunkline.ingest.graph import Graph, Shape, name_of, shape_of
from trunkline.ingest.limits import Limits
from trunkline.ingest.read import read
from trunkline.verbs.block_picture import block_picture
from trunkline.verbs.block_summary import summaries


@dataclass(frozen=True, slots=True)
class Inspection:
    """The facts about one model.

    Attributes:
        name: The network's name.
        cost: MACs, trainable parameters and activation bytes for one image.
        ops: Number of nodes by operator.
        blocks: The parts between branching points, in order.
        inputs: Shapes by name; the batch axis is ``None``.
        outputs: Shapes by name.
        problems: What the reader repaired, dropped or did not use.
        summaries: What each block holds, in a few words.
    """

    name: str
    cost: Cost
    ops: dict[str, int]
    blocks: tuple[Block, ...]
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]
    problems: tuple[str, ...]
    summaries: tuple[str, ...] = ()

    def to_svg(self) -> str:
        """Return a picture of the blocks and branching points."""
        return block_picture(self.name, self.blocks, self.summaries, list(self.outputs))

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        return {
            "name": self.name,
            "parameters": self.cost.parameters,
            "macs": self.cost.macs,
            "activation_bytes": self.cost.activation_bytes,
            "ops": self.ops,
            "blocks": [_block_json(block) for block in self.blocks],
            "inputs": _shapes_json(self.inputs),
            "outputs": _shapes_json(self.outputs),
            "problems": list(self.problems),
        }


def inspect(
    model: str | Path | Graph,
    *,
    input_size: tuple[int, int] | None = None,
    features: Sequence[str] = (),
    limits: Limits | None = None,
    weights: str | Path | None = None,
) -> Inspection:
    """Read a model file, or ``zoo:NAME``, and return the facts about it.

    Args:
        model: Prototxt or ONNX, or a Graph.
        input_size: Height and width that replace the file's.
        features: Values or nodes to end at, in place of the file's outputs.
        limits: What the file may ask for; the defaults where none are given.

    Raises:
        InvalidModel: The file cannot be read; all its problems are named with their places.
    """
    return inspect_graph(read(model, input_size=input_size, features=features, limits=limits))


def inspect_graph(graph: Graph) -> Inspection:
    """Return the facts about a Graph."""
    blocks = tuple(find_blocks(graph))
    return Inspection(
        name=graph.name,
        cost=graph_cost(graph),
        ops=dict(sorted(Counter(node.op_type for node in graph.nodes).items())),
        blocks=blocks,
        inputs={name_of(graph.input): shape_of(graph.input)},
        outputs={name_of(value): shape_of(value) for value in graph.outputs},
        problems=graph.notes,
        summaries=summaries(graph, blocks),
    )


def _block_json(block: Block) -> dict[str, Any]:
    return {
        "name": block.name,
        "parameters": block.cost.parameters,
        "macs": block.cost.macs,
        "activation_bytes": block.cost.activation_bytes,
        "nodes": list(block.nodes),
        "input": block.input,
        "output": block.output,
        "input_shape": list(block.input_shape),
        "output_shape": list(block.output_shape),
    }


def _shapes_json(shapes: dict[str, Shape]) -> list[dict[str, Any]]:
    return [{"name": name, "shape": list(shape)} for name, shape in shapes.items()]
