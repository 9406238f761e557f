"""``inspect``: what a model holds and costs, where it can branch, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from trunkline.graph.blocks import Block, find_blocks
from trunkline.graph.branching import branching_candidates
from trunkline.graph.cost import Cost, graph_cost
from trunkline.graph.features import lost_text
from trunkline.graph.graph import Graph, Shape, is_weight, name_of, shape_of
from trunkline.graph.maps.choice import Choice, last_map, pyramid
from trunkline.graph.maps.feature_map import FeatureMap, Maps
from trunkline.graph.maps.turn import turn_note
from trunkline.graph.roles import role_of, size_of
from trunkline.ingest.read import read
from trunkline.ingest.read_options import AS_THE_FILE_SAYS, ReadKeywords, ReadOptions
from trunkline.ingest.weight_files import require_finite
from trunkline.report.block_picture import block_picture
from trunkline.report.block_summary import summaries


@dataclass(frozen=True, slots=True)
class StoredCounts:
    """How many floating-point numbers a model stores, by what they are for.

    Attributes:
        trainable: Numbers of weights, which an optimiser moves.
        statistics: Running means and variances of BatchNormalization: training moves them, no gradient does.
        constants: Parts of formulas and buffers, which never change.
    """

    trainable: int = 0
    statistics: int = 0
    constants: int = 0


@dataclass(frozen=True, slots=True)
class InspectedMap:
    """A feature map that heads may read.

    Attributes:
        name: Name of the value in the network.
        shape: ``[N, C, H, W]``, the batch axis ``None``; where the file has another order of axes, once it is turned.
        stride: Image pixels between two of its positions, as a power of two; ``None`` where it is no picture of the
            image.
    """

    name: str
    shape: Shape
    stride: int | None


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
        gives: The outputs that lie in each block.
        stored: How many of its numbers train.
        features: The map that a head would read if none were named; empty where there is none.
        pyramid: The maps that a head of several would read, the finest first.
        candidates: Names of the values at which it could be cut: a rule says which of them are branching points.
    """

    name: str
    cost: Cost
    ops: dict[str, int]
    blocks: tuple[Block, ...]
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]
    problems: tuple[str, ...]
    summaries: tuple[str, ...] = ()
    gives: tuple[tuple[str, ...], ...] = ()
    stored: StoredCounts = StoredCounts()
    features: tuple[InspectedMap, ...] = ()
    pyramid: tuple[InspectedMap, ...] = ()
    candidates: tuple[str, ...] = ()

    @property
    def branching_points(self) -> int:
        """Number of places where tasks may part: before each block."""
        return len(self.blocks)

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
            "blocks": [_block_json(block, gives) for block, gives in zip(self.blocks, self.gives, strict=True)],
            "inputs": _shapes_json(self.inputs),
            "outputs": _shapes_json(self.outputs),
            "problems": list(self.problems),
            "branching_points": self.branching_points,
            "candidates": list(self.candidates),
            "stored": asdict(self.stored),
            "features": [_map_json(found) for found in self.features],
            "pyramid": [_map_json(found) for found in self.pyramid],
        }


def inspect(
    model: str | Path | Graph, *, options: ReadOptions = AS_THE_FILE_SAYS, **reading: Unpack[ReadKeywords]
) -> Inspection:
    """Read a model file, or ``zoo:NAME``, and return the facts about it.

    Args:
        model: Prototxt or ONNX, or a Graph.
        options: How to read the network. ``weights`` are a file to compare with it: what it lacks, and what it
            has besides, is always among the problems, as if missing weights were allowed.
        **reading: Options by name; see :class:`ReadOptions`.

    Raises:
        InvalidModel: The file cannot be read, or weights do not fit; all problems are named with their places.
    """
    # Missing weights are what the user wants to see here, not a reason to show nothing.
    options = replace(options.but(reading), allow_missing=True)
    graph = read(model, options=options)
    if options.weights is not None:
        require_finite(graph)
    return inspect_graph(graph)


def inspect_graph(graph: Graph) -> Inspection:
    """Return the facts about a Graph."""
    blocks = tuple(find_blocks(graph))
    maps = Maps(graph)
    single, several = last_map(maps), pyramid(maps)
    return Inspection(
        name=graph.name,
        cost=graph_cost(graph),
        ops=dict(sorted(Counter(node.op_type for node in graph.nodes).items())),
        blocks=blocks,
        inputs={name_of(graph.input): shape_of(graph.input)},
        outputs={name_of(value): shape_of(value) for value in graph.outputs},
        problems=(*graph.notes, *_notes_on(single, several)),
        summaries=summaries(graph, blocks),
        gives=tuple(_outputs_in(block, graph) for block in blocks),
        stored=_stored(graph),
        features=_shown(single),
        pyramid=_shown(several),
        candidates=tuple(branching_candidates(graph)),
    )


def _notes_on(*choices: Choice) -> list[str]:
    """Return what the user should know about the feature maps that are found, each note once."""
    notes: list[str] = []
    for choice in choices:
        notes += choice.notes
        if choice.lost:
            # Its maps are not shown (see _shown), so a note on how they lie would be about nothing.
            notes.append(lost_text(choice))
        else:
            notes += [turn_note(found) for found in choice.maps if found.turn is not None]
    # The single map is often the last of the pyramid too.
    return list(dict.fromkeys(notes))


def _shown(choice: Choice) -> tuple[InspectedMap, ...]:
    """Return the maps of a choice; none where heads are refused, because these may not be the last ones."""
    return () if choice.lost else tuple(map(_feature_map, choice.maps))


def _outputs_in(block: Block, graph: Graph) -> tuple[str, ...]:
    """Return the names of the network's outputs that nodes of ``block`` compute."""
    nodes = set(block.nodes)
    names = []
    for value in graph.outputs:
        node = value.producer()
        if node is not None and name_of(node) in nodes:
            names.append(name_of(value))
    return tuple(names)


def _stored(graph: Graph) -> StoredCounts:
    counts = {"parameter": 0, "statistic": 0, "static": 0}
    for value in graph.initializers.values():
        # Sizes, axes and other whole numbers are arguments of operators, not numbers that a model has learned.
        if is_weight(value):
            counts[role_of(value)] += size_of(value)
    return StoredCounts(counts["parameter"], counts["statistic"], counts["static"])


def _feature_map(found: FeatureMap) -> InspectedMap:
    return InspectedMap(name_of(found.value), found.shape, found.stride)


def _map_json(found: InspectedMap) -> dict[str, Any]:
    return {"name": found.name, "shape": list(found.shape), "stride": found.stride}


def _block_json(block: Block, gives: Sequence[str]) -> dict[str, Any]:
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
        "gives": list(gives),
    }


def _shapes_json(shapes: dict[str, Shape]) -> list[dict[str, Any]]:
    return [{"name": name, "shape": list(shape)} for name, shape in shapes.items()]
