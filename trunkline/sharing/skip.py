"""What a task runs instead of a unit that it skips, and when it may.

A skip must give a tensor of the unit's own output shape and must save work. From the cheapest up:

* *identity*: the shapes agree and the kernel has a tap that reads its own position; nothing runs;
* *subsample*: the channels agree, but stride or missing padding shrink the map; every s-th pixel is taken;
* *projection*: the channels differ; a 1×1 convolution per task maps them, if that costs less than the unit.

Each of the three is itself a convolution with the unit's geometry whose weight is zero except at one tap, so
it mixes exactly in weight space (see :mod:`trunkline.supermodel.mixing.mixed_linear`).

A block is skipped by the identity, or else by its own *shortcut* (:mod:`trunkline.sharing.shortcut`): the block without
its main path, and without what stands behind the addition of the two, such as a ReLU (AdaShare, Sun et al. 2020). Its
nodes are the block's own, with the weights of instance 0, so tasks that run and tasks that skip the block share them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import onnx_ir as ir

from trunkline.graph.builder import GraphBuilder
from trunkline.graph.computed_weights import image_inputs_of
from trunkline.graph.graph import Attribute, Graph, Shape, attribute, name_of, shape_of, shapes_of
from trunkline.sharing.shortcut import Shortcut, shortcut_of
from trunkline.sharing.units import Granularity, Unit

Pair = tuple[int, int]
"""A number for rows and one for columns."""


@dataclass(frozen=True, slots=True)
class Skip:
    """A unit's skip connection.

    Attributes:
        kind: ``identity``, ``subsample``, ``projection`` or ``shortcut``.
        tap: Kernel position (row, column) that the skip occupies in weight space.
        offset: First input row and column that the skip reads.
        stride: Step between rows and between columns that it reads.
        size: Output height and width.
        groups: Channel groups of the projection.
        weight_shape: ``[C_out, C_in / groups, 1, 1]`` of the projection; empty otherwise.
        macs: Multiply-accumulates for one image of what it adds; a shortcut adds nothing, its nodes are the unit's.
        shortcut: The nodes of the unit that a shortcut keeps.

    A convolution of 8 to 16 channels and stride 2 is skipped by a projection, which has weights of a task:

    >>> skip = Skip("projection", stride=(2, 2), size=(4, 4), weight_shape=(16, 8, 1, 1), macs=16 * 8 * 4 * 4)
    >>> skip.is_identity, skip.keeps_equal
    (False, False)
    """

    kind: Literal["identity", "subsample", "projection", "shortcut"]
    tap: Pair = (0, 0)
    offset: Pair = (0, 0)
    stride: Pair = (1, 1)
    size: Pair = (1, 1)
    groups: int = 1
    weight_shape: tuple[int, ...] = ()
    macs: int = 0
    shortcut: Shortcut | None = None

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the unit's own nodes that run although it is skipped."""
        return () if self.shortcut is None else self.shortcut.nodes

    @property
    def is_identity(self) -> bool:
        """Whether skipping leaves the very same value."""
        return self.kind == "identity"

    @property
    def keeps_equal(self) -> bool:
        """Whether tasks with equal values before the skip have equal ones behind it: it has no weights of a task."""
        return not self.weight_shape


def skips_of(graph: Graph, units: Sequence[Unit], granularity: Granularity = "operator") -> list[Skip | None]:
    """Return each unit's skip, or ``None`` where none gives the unit's output shape or none saves anything."""
    shapes = shapes_of(graph)
    nodes = {name_of(node): node for node in graph.nodes}
    if granularity == "block":
        return [_block_skip(graph, unit, nodes, shapes) for unit in units]
    return [_operator_skip(nodes[unit.nodes[0]], unit, shapes) for unit in units]


def _block_skip(graph: Graph, unit: Unit, nodes: Mapping[str, ir.Node], shapes: Mapping[str, Shape]) -> Skip | None:
    """Return the identity, or the block's own shortcut, where no feature map lies inside the block."""
    producers = {name_of(value): value.producer() for value in graph.outputs}
    taps = {name for name, node in producers.items() if node is not None and name_of(node) in unit.nodes}
    # A head reads a feature map, so it must be computed. The block's own output is there even if the block is skipped.
    if not taps <= {unit.output}:
        return None
    # From the cheapest up: the identity, whatever the block's shortcut computes.
    if shapes[unit.input] == shapes[unit.output]:
        return Skip("identity")
    found = shortcut_of([nodes[name] for name in unit.nodes], unit.input, shapes[unit.output])
    return None if found is None else Skip("shortcut", shortcut=found)


def _operator_skip(node: ir.Node, unit: Unit, shapes: Mapping[str, Shape]) -> Skip | None:
    reads, writes = shapes[unit.input], shapes[unit.output]
    # A product of two computed values with a stored bias: a skip would drop one of the two, and all that it came from.
    if len(image_inputs_of(node)) > 1 or node.inputs[0] is None or node.inputs[0].name != unit.input:
        return None
    if node.op_type == "Conv" and len(reads) == 4:
        return _conv_skip(node, unit, reads, writes)
    # A linear layer has one tap, so its skip is the identity matrix in weight space.
    if node.op_type in ("Gemm", "MatMul") and reads == writes:
        return Skip("identity")
    return None


def _conv_skip(node: ir.Node, unit: Unit, reads: Shape, writes: Shape) -> Skip | None:
    vertical, horizontal = _tap(node, 0), _tap(node, 1)
    if vertical is None or horizontal is None:
        return None
    (row, top), (column, left) = vertical, horizontal
    down, right = attribute(node, "strides", [1, 1])
    groups = int(attribute(node, "group", 1))
    size = (int(writes[2] or 1), int(writes[3] or 1))
    place = Skip("identity", (row, column), (top, left), (down, right), size)
    if not _fits(reads, place):
        return None
    # From the cheapest up: the identity.
    if reads == writes and place.offset == (0, 0):
        return place
    # The channels agree, but not the positions: a subsample.
    c_in, c_out = int(reads[1] or 1), int(writes[1] or 1)
    if c_in == c_out:
        return replace(place, kind="subsample")
    # The channels differ: a projection, unless the unit is a 1×1 convolution itself or no dearer than one. AutoMTL's
    # release projects wherever channels change; on MobileNetV2 that holds more weights than what it replaces.
    macs = c_out * (c_in // groups) * size[0] * size[1]
    if macs >= unit.cost.macs:
        return None
    return replace(place, kind="projection", groups=groups, weight_shape=(c_out, c_in // groups, 1, 1), macs=macs)


def _tap(node: ir.Node, axis: int) -> tuple[int, int] | None:
    """Return the middle tap and the input position that it reads first; ``None`` if that is in the padding."""
    kernel = _kernel(node)[axis]
    dilation = attribute(node, "dilations", [1, 1])[axis]
    pad = attribute(node, "pads", [0, 0, 0, 0])[axis]
    # With padding wider than half the kernel, the middle tap begins in the padding: take the first one that does not.
    first_inside = -(-pad // dilation)
    tap = max((kernel - 1) // 2, first_inside)
    if tap >= kernel:
        return None
    return tap, dilation * tap - pad


def _kernel(node: ir.Node) -> tuple[int, ...]:
    weight = node.inputs[1]
    assert weight is not None
    return tuple(int(size or 1) for size in shape_of(weight)[2:])


def _fits(reads: Shape, skip: Skip) -> bool:
    """Whether every position that the skip reads lies inside the input."""
    return all(_last_read(skip, axis) < int(reads[2 + axis] or 1) for axis in range(2))


def _last_read(skip: Skip, axis: int) -> int:
    return skip.offset[axis] + skip.stride[axis] * (skip.size[axis] - 1)


def emit_skip(builder: GraphBuilder, skip: Skip, x: ir.Value, weight: ir.Value | None, *, name: str) -> ir.Value:
    """Write the nodes of ``skip`` applied to ``x`` and return its result; the identity writes none."""
    if skip.is_identity:
        return x
    strides: Pair = skip.stride
    # A convolution starts at an offset only by negative padding, which ONNX forbids.
    if skip.kind == "subsample" or skip.offset != (0, 0):
        x = _emit_slice(builder, skip, x, name=name if weight is None else builder.free_name(f"{name}.crop"))
        strides = (1, 1)
    if weight is None:
        return x
    attributes: dict[str, Attribute] = {
        "kernel_shape": [1, 1],
        "strides": list(strides),
        "pads": [0, 0, 0, 0],
        "dilations": [1, 1],
        "group": skip.groups,
    }
    return builder.node("Conv", [x, weight], name=name, attributes=attributes)


def _emit_slice(builder: GraphBuilder, skip: Skip, x: ir.Value, *, name: str) -> ir.Value:
    ends = [_last_read(skip, axis) + 1 for axis in range(2)]
    arguments = {"starts": skip.offset, "ends": ends, "axes": (2, 3), "steps": skip.stride}
    values = []
    for key, numbers in arguments.items():
        values.append(builder.tensor(builder.free_name(f"{name}.{key}"), np.array(numbers, dtype=np.int64)))
    return builder.node("Slice", [x, *values], name=name)
